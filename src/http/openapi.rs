//! What the OpenAPI document says beside the routes: title, tags, security, and the answers that are
//! not successes.

use std::collections::BTreeMap;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder, ResponsesBuilder};
use utoipa::{IntoResponses, Modify, OpenApi as _};

use super::error::{FieldProblem, ProblemBody};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Faktor",
        description = "An invoice platform: every invoice is an actor with one owner. Money, rates \
                       and quantities are decimal strings; errors are `application/problem+json`.",
        license(name = "MIT", identifier = "MIT")
    ),
    components(schemas(ProblemBody, FieldProblem)),
    modifiers(&Bearer),
    security(("bearer" = [])),
    tags(
        (name = "invoices", description = "Drafts, finalizing, sending, payment, documents"),
        (name = "customers", description = "Who gets invoices"),
        (name = "organization", description = "The issuer and its settings"),
        (name = "events", description = "Public events as CloudEvents"),
        (name = "identity", description = "Tokens, users, roles, API keys"),
        (name = "customer page", description = "What a customer sees of one invoice"),
        (name = "webhooks", description = "What payment providers tell"),
        (name = "files", description = "File in, file out"),
        (name = "operations", description = "The node, its health and metrics")
    )
)]
struct Base;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut OpenApi) {
        let bearer = SecurityScheme::Http(
            Http::builder()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(
                    "An access token of POST /v1/auth/token, or an API key",
                ))
                .build(),
        );
        if let Some(components) = openapi.components.as_mut() {
            components.add_security_scheme("bearer", bearer);
        }
    }
}

/// The document without routes.
pub(super) fn base() -> OpenApi {
    Base::openapi()
}

fn problems(statuses: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let content = || Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
    let responses = statuses.iter().map(|(status, description)| {
        let response = ResponseBuilder::new()
            .description(*description)
            .content("application/problem+json", content());
        (*status, response)
    });
    ResponsesBuilder::new()
        .responses_from_iter(responses)
        .build()
        .responses
}

const MALFORMED: (&str, &str) = (
    "400",
    "The request can't be read; `errors` names every problem",
);
const UNAUTHENTICATED: (&str, &str) = ("401", "No, wrong, expired or revoked credentials");
const FORBIDDEN: (&str, &str) = ("403", "The caller lacks the permission that `detail` names");
const NOT_FOUND: (&str, &str) = ("404", "There is no such thing in the caller's organization");
const CONFLICT: (&str, &str) = ("409", "The state does not allow it; `code` says why");
const PRECONDITION: (&str, &str) = ("412", "`If-Match` names another version");
const TOO_LARGE: (&str, &str) = ("413", "The body is too large");
const MEDIA_TYPE: (&str, &str) = ("415", "The body's content type is not supported");
const INVALID: (&str, &str) = (
    "422",
    "Valid JSON that breaks a rule, or an idempotency key used with another body",
);
const THROTTLED: (&str, &str) = ("429", "Too many attempts; see `Retry-After`");
const INTERNAL: (&str, &str) = ("500", "Something went wrong on our side");
const UNAVAILABLE: (&str, &str) = ("503", "Busy or not available; see `Retry-After`");

/// The errors of a route that reads.
#[derive(Debug)]
pub struct ReadErrors;

impl IntoResponses for ReadErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            MALFORMED,
            UNAUTHENTICATED,
            FORBIDDEN,
            NOT_FOUND,
            THROTTLED,
            INTERNAL,
            UNAVAILABLE,
        ])
    }
}

/// The errors of a route that changes something.
#[derive(Debug)]
pub struct WriteErrors;

impl IntoResponses for WriteErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            MALFORMED,
            UNAUTHENTICATED,
            FORBIDDEN,
            NOT_FOUND,
            CONFLICT,
            PRECONDITION,
            TOO_LARGE,
            MEDIA_TYPE,
            INVALID,
            THROTTLED,
            INTERNAL,
            UNAVAILABLE,
        ])
    }
}

/// The errors of a route that needs no credentials.
#[derive(Debug)]
pub struct OpenErrors;

impl IntoResponses for OpenErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            MALFORMED,
            NOT_FOUND,
            TOO_LARGE,
            THROTTLED,
            INTERNAL,
            UNAVAILABLE,
        ])
    }
}
