//! The first start: the set-up link's page, and the same for programs.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer;
use super::error::ApiError;
use super::extract::Payload;
use super::input::{Field, required};
use super::openapi::WriteErrors;
use super::users::UserView;
use crate::actors::auth_cache::accounts::{AccountError, Person};
use crate::domain::ids::OrganizationId;
use crate::domain::party::Locale;
use crate::domain::problem::{Problem, Problems};
use crate::render::page::{self, SetupForm};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(set_up))
        .route("/setup", axum::routing::get(show_form).post(take_form))
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Invalid { problems } => Self::invalid(problems),
            AccountError::EmailTaken => {
                Self::conflict("email_taken", error.to_string()).param("email")
            }
            AccountError::SetupClosed => {
                Self::new(StatusCode::FORBIDDEN, "setup_closed", error.to_string())
            }
            AccountError::Store(error) => error.into(),
            AccountError::NoSuchUser
            | AccountError::NoSuchOrganization
            | AccountError::NoSuchRole { .. }
            | AccountError::Incomplete { .. }
            | AccountError::Hashing(_) => Self::internal(error.to_string()),
        }
    }
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetUp {
    /// From the link that the node printed when it started without users.
    #[schema(value_type = String)]
    token: Option<Field<String>>,
    /// 1 to 200 characters.
    #[schema(value_type = String, example = "Ada GmbH")]
    organization_name: Option<Field<String>>,
    /// 1 to 200 characters.
    #[schema(value_type = String, example = "Ada")]
    first_name: Option<Field<String>>,
    /// 1 to 200 characters.
    #[schema(value_type = String, example = "Lovelace")]
    last_name: Option<Field<String>>,
    #[schema(value_type = String, example = "ada@example.com")]
    email: Option<Field<String>>,
    /// 12 to 200 characters.
    #[schema(value_type = String, format = Password, write_only)]
    password: Option<Field<String>>,
}

#[derive(Serialize, ToSchema)]
struct FoundedView {
    organization: FoundedOrganization,
    user: UserView,
}

#[derive(Serialize, ToSchema)]
struct FoundedOrganization {
    #[schema(value_type = String, example = "org_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    id: OrganizationId,
    legal_name: String,
}

/// Make the first organization and its administrator, once.
///
/// 403: `setup_closed`, when the token is wrong or was used, or there is a user.
#[utoipa::path(
    post, path = "/v1/setup", tag = "identity",
    request_body = SetUp,
    responses((status = 201, body = FoundedView), WriteErrors),
    security(()),
)]
async fn set_up(State(app): State<App>, payload: Payload) -> Result<Response, ApiError> {
    let body: SetUp = payload.json()?;
    let mut problems = Problems::new();
    let token = required(body.token, "token", &mut problems);
    let organization_name = required(body.organization_name, "organization_name", &mut problems);
    let person = Person {
        first_name: required(body.first_name, "first_name", &mut problems).unwrap_or_default(),
        last_name: required(body.last_name, "last_name", &mut problems).unwrap_or_default(),
        email: required(body.email, "email", &mut problems).unwrap_or_default(),
        password: required(body.password, "password", &mut problems).unwrap_or_default(),
    };
    problems.finish(())?;
    let (organization, user) = app
        .auth
        .set_up(
            &token.unwrap_or_default(),
            &organization_name.unwrap_or_default(),
            &person,
        )
        .await?;
    let view = FoundedView {
        organization: FoundedOrganization {
            id: organization.id,
            legal_name: organization.issuer.legal_name,
        },
        user: UserView::of(&user),
    };
    answer::json(StatusCode::CREATED, &view)
}

#[derive(Deserialize)]
struct Link {
    token: String,
}

/// The form behind the printed link; a page without one when the link leads nowhere (any more).
async fn show_form(
    State(app): State<App>,
    link: Result<Query<Link>, QueryRejection>,
) -> Result<Response, ApiError> {
    let token = link.map_or_else(|_| String::new(), |Query(link)| link.token);
    if !app.auth.setup_is_open(&token).await? {
        return Ok(closed());
    }
    let empty = SetupForm {
        token: &token,
        ..SetupForm::default()
    };
    form(StatusCode::OK, empty, &[])
}

#[derive(Deserialize)]
struct SetUpForm {
    token: String,
    organization_name: String,
    first_name: String,
    last_name: String,
    email: String,
    password: String,
}

async fn take_form(
    State(app): State<App>,
    form: Result<Form<SetUpForm>, FormRejection>,
) -> Result<Response, ApiError> {
    let Ok(Form(form)) = form else {
        return Err(ApiError::malformed(
            "invalid_form",
            "the form can't be read",
        ));
    };
    let person = Person {
        first_name: form.first_name,
        last_name: form.last_name,
        email: form.email,
        password: form.password,
    };
    match app
        .auth
        .set_up(&form.token, &form.organization_name, &person)
        .await
    {
        Ok((organization, _)) => {
            let name = organization.issuer.legal_name;
            let text = format!(
                "{name} has its first administrator. Programs sign in with POST /v1/auth/token; \
                 the page /docs shows everything else."
            );
            Ok(notice(StatusCode::CREATED, "All set", &text))
        }
        Err(AccountError::SetupClosed) => Ok(closed()),
        Err(AccountError::Invalid { problems }) => {
            let filled = SetupForm {
                action: "",
                token: &form.token,
                organization_name: &form.organization_name,
                first_name: &person.first_name,
                last_name: &person.last_name,
                email: &person.email,
            };
            self::form(StatusCode::UNPROCESSABLE_ENTITY, filled, &problems)
        }
        Err(error) => Err(error.into()),
    }
}

fn form(
    status: StatusCode,
    filled: SetupForm<'_>,
    problems: &[Problem],
) -> Result<Response, ApiError> {
    let filled = SetupForm {
        action: "/setup",
        ..filled
    };
    let html = page::setup_page(&filled, problems)
        .map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(show(status, html))
}

fn closed() -> Response {
    let text = "It was used, or it is not the one that Faktor printed when it started.";
    notice(StatusCode::FORBIDDEN, "This link leads nowhere", text)
}

fn notice(status: StatusCode, title: &str, text: &str) -> Response {
    show(status, page::notice_page(Locale::En, title, text))
}

fn show(status: StatusCode, html: String) -> Response {
    (status, [("cache-control", "no-store")], Html(html)).into_response()
}
