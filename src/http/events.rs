//! `/v1/events`: the organization's public events in order.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer::json;
use super::error::ApiError;
use super::extract::{Authenticated, Params, bearer};
use super::input::{Malformed, parse_id};
use super::openapi::ReadErrors;
use super::paging::{List, take_limit};
use crate::domain::ids::EventId;
use crate::domain::invoice::event::PublicEvent;
use crate::domain::permission::Permission;
use crate::outbound::events::CloudEvent;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

/// The longest a caller may wait, in seconds.
const MAX_WAIT_S: u64 = 30;
/// How often a waiting request looks whether the node is draining.
const DRAIN_CHECK: Duration = Duration::from_secs(1);

/// The organization's public events, oldest first, after the one given.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "list_events",
    params(
        ("after" = Option<String>, Query, description = "An event's id: `next` of the last answer"),
        ("limit" = Option<u16>, Query, description = "1–100, default 20"),
        ("wait" = Option<u64>, Query,
            description = "Wait up to this many seconds (at most 30) while there is nothing new")
    ),
    responses((status = 200, description = "Events; `next` is where to go on", body = List<CloudEvent>), ReadErrors)
)]
async fn events(
    State(app): State<App>,
    caller: Authenticated,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceGetAll)?;
    let token = bearer(&headers)?;
    let after: Option<EventId> = params.take("after", parse_id);
    let limit = take_limit(&mut params);
    let wait_s = params.take("wait", read_wait).unwrap_or(0);
    params.finish()?;
    // An answer comes before the request's own time is over.
    let longest = app.config.server.request_timeout_s.saturating_sub(1);
    let deadline = Instant::now() + Duration::from_secs(wait_s.min(longest));
    let mut published = app.outbox.watch();
    let mut waited = false;
    loop {
        published.borrow_and_update();
        let mut found = read(&app, &caller, after, limit + 1).await?;
        let over = Instant::now() >= deadline || app.is_draining();
        if waited && !found.is_empty() {
            // What happened after a revocation is not told, however long ago the caller came.
            let still = Authenticated(app.auth.authenticate(token).await?);
            still.require(Permission::InvoiceGetAll)?;
        }
        if !found.is_empty() || over {
            let has_more = found.len() > usize::from(limit);
            found.truncate(usize::from(limit));
            let next = found
                .last()
                .map(|last| last.id)
                .or(after)
                .map(|id| id.to_string());
            let data = found.iter().map(CloudEvent::of).collect();
            return json(
                StatusCode::OK,
                &List {
                    data,
                    has_more,
                    next,
                },
            );
        }
        waited = true;
        let look_again = deadline.min(Instant::now() + DRAIN_CHECK);
        // Nobody publishing any more is the same as nothing new.
        if let Ok(Err(_)) = tokio::time::timeout_at(look_again, published.changed()).await {
            tokio::time::sleep_until(look_again).await;
        }
    }
}

fn read_wait(text: &str) -> Result<u64, Malformed> {
    text.parse::<u64>()
        .ok()
        .filter(|seconds| *seconds <= MAX_WAIT_S)
        .ok_or_else(|| {
            Malformed::new(
                "out_of_range",
                "expected a whole number of seconds from 0 to 30",
            )
        })
}

async fn read(
    app: &App,
    caller: &Authenticated,
    after: Option<EventId>,
    limit: u16,
) -> Result<Vec<PublicEvent>, ApiError> {
    let found = app
        .stores
        .feed
        .feed(caller.organization, after, limit)
        .await?;
    found.ok_or_else(|| {
        ApiError::malformed("unknown_event", "there is no event with this id").param("after")
    })
}
