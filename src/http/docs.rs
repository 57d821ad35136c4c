//! `/docs`: the OpenAPI document as a page, from files in the binary.

use axum::Router;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::App;

pub(super) fn routes() -> Router<App> {
    let config = Config::from("/openapi.json")
        // No page asks another host, not even to check the document.
        .validator_url("none")
        .persist_authorization(false);
    SwaggerUi::new("/docs").config(config).into()
}
