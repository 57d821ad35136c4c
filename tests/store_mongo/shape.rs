//! What an operator sees in mongosh.

use bson::{Bson, Document, doc};
use faktor::domain::ids::{CustomerId, EffectId, InvoiceId, OrganizationId};
use faktor::domain::invoice::State;
use faktor::domain::invoice::effect::{EffectError, EffectKind, EffectKindName, PendingEffect};
use jiff::civil::date;
use uuid::Uuid;

use crate::database::TestDatabase;
use crate::sample::{at, change, creation, draft, for_customer, issued, waking};

const GOLDEN: &str = "tests/golden/mongodb_documents.json";

/// What differs from run to run, and what is long.
fn redact(document: &mut Document) {
    for (field, value) in document.iter_mut() {
        match (field.as_str(), value) {
            ("write", value) => *value = "<name of the last write>".into(),
            ("unpublished_since" | "committed_at", value @ Bson::DateTime(_)) => {
                *value = "<date of the commit>".into();
            }
            ("snapshot" | "body" | "event", Bson::String(text)) => {
                let json: serde_json::Value = serde_json::from_str(text).unwrap();
                let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
                *text = format!("<JSON of {}>", keys.join(", "));
            }
            ("history_bytes", value) => *value = "<number>".into(),
            (_, value @ Bson::DateTime(_)) => {
                let date = value.as_datetime().unwrap().try_to_rfc3339_string();
                *value = format!("<date {}>", date.unwrap()).into();
            }
            (_, Bson::Document(inner)) => redact(inner),
            (_, Bson::Array(items)) => {
                for item in items.iter_mut() {
                    if let Bson::Document(inner) = item {
                        redact(inner);
                    }
                }
            }
            _ => {}
        }
    }
}

/// An effect that was tried once.
fn failed_number(invoice: InvoiceId) -> PendingEffect {
    PendingEffect {
        id: EffectId {
            invoice,
            kind: EffectKindName::Number,
            sequence: 1,
        },
        kind: EffectKind::Number,
        requested_at: at(1_000),
        request_id: "req_1".into(),
        attempts: 1,
        next_attempt_at: at(60_000),
        claimed: false,
        last_error: Some(EffectError {
            code: "store_unavailable".to_owned(),
            detail: "the number series could not be reached".to_owned(),
            permanent: false,
            outcome_unknown: true,
        }),
        parked: false,
    }
}

fn shown(mut document: Document) -> serde_json::Value {
    redact(&mut document);
    serde_json::to_value(document).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_read_by_operators_as_they_always_were() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let stores = database.stores().await;
    let mut first = draft(OrganizationId::new(Uuid::from_u128(1)));
    first.id = InvoiceId::new(Uuid::from_u128(2));
    let first = for_customer(
        waking(first, at(60_000)),
        CustomerId::new(Uuid::from_u128(3)),
    );
    stores.invoices.commit(creation(&first)).await.unwrap();
    assert_eq!(stores.feed.publish(10).await.unwrap(), 1);
    let second = change(&first, |after| {
        after.delivery.scheduled = None;
        after.updated_at = at(1_500);
        after.effects.push(failed_number(after.id));
        after.state = State::Open {
            issued: issued("2026-0042", date(2026, 3, 6), true),
        };
    });
    stores.invoices.commit(second).await.unwrap();
    stores.feed.note_cursor("kafka", 1).await.unwrap();

    let mut documents = serde_json::Map::new();
    for collection in ["invoices", "feed", "feed_cursors"] {
        let collection = database.database.collection::<Document>(collection);
        let found = collection.find_one(doc! {}).await.unwrap().unwrap();
        documents.insert(collection.name().to_owned(), shown(found));
    }
    let text = serde_json::to_string_pretty(&documents).unwrap() + "\n";
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(text, expected, "UPDATE_GOLDEN=1 writes {GOLDEN} anew");
}
