//! What Stripe would tell by webhook, asked for: <https://docs.stripe.com/api/events/list>.

use serde_json::value::RawValue;

use super::super::{EventsPage, EventsQuery, ListedEvent, ProviderError, ProviderEventKind};
use super::wire::{Form, Wire};
use super::{List, read_event};

/// Events on one page: the most that Stripe gives.
const PAGE: &str = "100";

/// As [`super::super::Payments::events`].
pub(super) async fn list(wire: &Wire, query: &EventsQuery) -> Result<EventsPage, ProviderError> {
    let mut form: Form = vec![
        ("type", query.kind.to_owned()),
        ("limit", PAGE.to_owned()),
        ("created[gte]", query.since.as_second().to_string()),
    ];
    let after = query.after.clone();
    form.extend(after.map(|after| ("starting_after", after)));
    let page: List<Box<RawValue>> = wire.get("events", &form).await?.object;
    let mut events = Vec::with_capacity(page.data.len());
    let mut last = None;
    for listed in page.data {
        let body = listed.get().as_bytes();
        match read_event(body) {
            Ok(event) => {
                last = Some(event.id.clone());
                if event.what != ProviderEventKind::Ignored {
                    let body = body.to_vec();
                    events.push(ListedEvent { event, body });
                }
            }
            // Its webhook is refused for the same reason; the operator reads it here.
            Err(error) => {
                last = id_of(body).or(last);
                tracing::warn!(%error, "an event in Stripe's list can't be read and is passed over");
            }
        }
    }
    let next = last.filter(|_| page.has_more);
    Ok(EventsPage { events, next })
}

fn id_of(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    serde_json::from_slice::<Named>(body)
        .ok()
        .map(|named| named.id)
}
