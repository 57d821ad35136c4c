//! One invoice's public events as they happen (server-sent events).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::find;
use crate::actors::auth_cache::AuthError;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::event::PublicEvent;
use crate::domain::permission::Permission;
use crate::http::App;
use crate::http::error::ApiError;
use crate::http::extract::{Authenticated, Id, Params, bearer};
use crate::http::openapi::ReadErrors;
use crate::outbound::events::CloudEvent;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

/// A comment after this long without an event keeps the connection from being taken for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream ends after this and is resumed by its reader, so that connections move on.
const LONGEST: Duration = Duration::from_hours(1);
/// How often a quiet stream looks whether the node is draining or its reader has been shut out.
const CHECK: Duration = Duration::from_secs(1);
/// How often a quiet stream reads the store all the same: news from another node may be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Events read from the store at once.
const PART: u16 = 100;

/// The invoice's public events from the beginning or after `Last-Event-ID`, then live. The id of
/// each is the version it tells of.
#[utoipa::path(
    get, path = "/v1/invoices/{id}/events", tag = "invoices", operation_id = "invoice_events",
    params(
        ("id" = String, Path),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last version seen")
    ),
    responses(
        (status = 200, description = "Server-sent events; `data` is an Event in JSON",
            body = String, content_type = "text/event-stream"),
        ReadErrors
    )
)]
async fn events(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceGetById)?;
    params.finish()?;
    let seen = last_event_id(&headers)?;
    let token = bearer(&headers)?.to_owned();
    // Watching begins before the first look, so that no event falls between.
    let versions = app.invoices.watch(id);
    find(&app, &caller, id).await?;
    let place = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        ApiError::unavailable(
            "busy",
            "too many event streams are open; try again in a moment",
        )
        .retry_after(5)
    })?;
    let reader = Reader {
        app,
        token,
        id,
        seen,
        versions,
        ready: VecDeque::new(),
        ends_at: Instant::now() + LONGEST,
        _place: place,
    };
    let events = stream::unfold(reader, |mut reader| async {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<u64, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(0);
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| {
            ApiError::malformed(
                "invalid_header",
                "Last-Event-ID is the id of an event: a version",
            )
            .param("Last-Event-ID")
        })
}

struct Reader {
    app: App,
    /// With which the reader came: good for no longer than it is for any other request.
    token: String,
    id: InvoiceId,
    /// The last version whose event was handed on.
    seen: u64,
    versions: watch::Receiver<u64>,
    ready: VecDeque<PublicEvent>,
    ends_at: Instant,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// The next event; `None` when the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.seen = event.version;
                return write(&event);
            }
            self.versions.borrow_and_update();
            let store = &self.app.stores.invoices;
            match store.events_of(self.id, self.seen, PART).await {
                Ok(events) if events.is_empty() => self.wait().await?,
                // Asked after the look: what happened after a revocation is not told.
                Ok(_) if !self.is_still_allowed().await => return None,
                Ok(events) => self.ready = events.into(),
                Err(error) => {
                    // Ending is safe: the reader comes back with the last id it saw.
                    tracing::warn!(invoice.id = %self.id, %error, "an event stream ended early");
                    return None;
                }
            }
        }
    }

    /// Waits for a new version; `None` when it is time to end.
    async fn wait(&mut self) -> Option<()> {
        let look_again = Instant::now() + LOOK_AGAIN;
        loop {
            let now = Instant::now();
            if self.app.is_draining() || now >= self.ends_at {
                return None;
            }
            if self.app.cluster.is_some() && now >= look_again {
                return Some(());
            }
            match tokio::time::timeout(CHECK, self.versions.changed()).await {
                Ok(Ok(())) => return Some(()),
                Ok(Err(_)) => return None,
                Err(_elapsed) if self.is_still_allowed().await => {}
                Err(_elapsed) => return None,
            }
        }
    }

    /// Whether the token is neither expired nor revoked and may still read invoices: mostly known
    /// from the cache. A fault of the store shuts nobody out.
    async fn is_still_allowed(&self) -> bool {
        match self.app.auth.authenticate(&self.token).await {
            Ok(caller) => caller.permissions.contains(Permission::InvoiceGetById),
            Err(AuthError::Unauthenticated { .. }) => false,
            Err(_) => true,
        }
    }
}

fn write(event: &PublicEvent) -> Option<Event> {
    let data = serde_json::to_string(&CloudEvent::of(event)).ok()?;
    Some(
        Event::default()
            .id(event.version.to_string())
            .event(&event.kind)
            .data(data),
    )
}
