//! The organization's logo.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{OrganizationBody, png, show, update};
use crate::clock;
use crate::domain::ids::FileId;
use crate::domain::permission::Permission;
use crate::http::App;
use crate::http::answer::{no_content, not_modified, resource, to_json};
use crate::http::conditional::{IfMatch, IfNoneMatch};
use crate::http::error::ApiError;
use crate::http::extract::{Authenticated, MAX_BODY_BYTES, Params, media_type, read_body};
use crate::http::openapi::{ReadErrors, WriteErrors};
use crate::store::Asset;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read_logo, put_logo, delete_logo))
}

/// Reads the logo.
#[utoipa::path(
    get, path = "/v1/organization/logo", tag = "organization", operation_id = "get_logo",
    params(("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The logo", body = Vec<u8>, content_type = "image/png",
            headers(("ETag" = String))),
        (status = 304, description = "The caller has this logo"),
        ReadErrors
    )
)]
async fn read_logo(
    State(app): State<App>,
    caller: Authenticated,
    known: IfNoneMatch,
    params: Params,
) -> Result<Response, ApiError> {
    params.finish()?;
    let organization = app.organization_now(caller.organization).await?;
    let none = || ApiError::not_found("logo");
    let logo = organization.issuer.logo.ok_or_else(none)?;
    let tag = HeaderValue::from_str(&format!("\"{logo}\"")).map_err(|_| none())?;
    if known.has(&tag) {
        return Ok(not_modified(tag));
    }
    let asset = app
        .stores
        .directory
        .asset(organization.id, logo)
        .await?
        .ok_or_else(none)?;
    let mut response = Response::new(Body::from(asset.bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    headers.insert(header::ETAG, tag);
    Ok(response)
}

/// Sets the logo: a PNG of at most 1 MiB and 4,096 pixels a side.
#[utoipa::path(
    put, path = "/v1/organization/logo", tag = "organization", operation_id = "put_logo",
    params(("If-Match" = Option<String>, Header)),
    request_body(content = Vec<u8>, content_type = "image/png"),
    responses(
        (status = 200, description = "The organization", body = OrganizationBody,
            headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn put_logo(
    State(app): State<App>,
    caller: Authenticated,
    if_match: IfMatch,
    request: Request,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserUpdate)?;
    let (parts, body) = request.into_parts();
    if media_type(parts.headers.get(header::CONTENT_TYPE)) != Some("image/png") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send the image itself with Content-Type: image/png",
        ));
    }
    let bytes = read_body(&parts.headers, body, MAX_BODY_BYTES).await?;
    png::check(&bytes).map_err(|detail| {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_image", detail)
    })?;
    let asset = Asset {
        id: FileId::new(clock::new_uuid()),
        organization: caller.organization,
        media_type: "image/png".to_owned(),
        bytes: bytes.to_vec(),
        created_at: app.clock.now(),
    };
    app.stores.directory.insert_asset(&asset).await?;
    let organization = update(&app, caller.organization, &if_match, |settings| {
        settings.issuer.logo = Some(asset.id);
        Ok(())
    })
    .await?;
    Ok(resource(
        StatusCode::OK,
        organization.version,
        to_json(&show(&organization))?,
    ))
}

/// Takes the logo away.
#[utoipa::path(
    delete, path = "/v1/organization/logo", tag = "organization", operation_id = "delete_logo",
    params(("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "There is no logo any more"), WriteErrors)
)]
async fn delete_logo(
    State(app): State<App>,
    caller: Authenticated,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserUpdate)?;
    update(&app, caller.organization, &if_match, |settings| {
        settings.issuer.logo = None;
        Ok(())
    })
    .await?;
    Ok(no_content())
}
