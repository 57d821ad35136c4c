//! Filters of lists and alarms, and the indexes that serve them.

use bson::{Bson, DateTime, Document, doc};
use jiff::Timestamp;
use mongodb::IndexModel;
use mongodb::options::IndexOptions;

use super::values::{date_time, start_of};
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::Status;
use crate::store::{InvoiceFilter, SHARDS, ShardId, StoreError};

/// Where a page begins: the creation and the id of the invoice before it.
pub(super) struct After {
    pub(super) created_at: DateTime,
    pub(super) id: InvoiceId,
}

pub(super) fn newest_first() -> Document {
    doc! {"created_at": -1, "_id": -1}
}

/// The invoices of a list.
pub(super) fn listed(
    organization: OrganizationId,
    filter: &InvoiceFilter,
    after: Option<&After>,
) -> Result<Document, StoreError> {
    let mut query = doc! {"organization": organization.to_string()};
    query.insert(
        "status",
        match filter.status {
            Some(status) => Bson::from(status.name()),
            None => doc! {"$ne": Status::Deleted.name()}.into(),
        },
    );
    if let Some(customer) = filter.customer {
        query.insert("customer", customer.to_string());
    }
    if let Some(number) = &filter.number {
        query.insert("number", number);
    }
    if let Some(currency) = filter.currency {
        query.insert("currency", currency.code());
    }
    if let Some(overdue) = filter.overdue {
        query.insert("overdue", overdue);
    }
    let mut issued_on = Document::new();
    if let Some(from) = filter.issued_from {
        issued_on.insert("$gte", from.to_string());
    }
    if let Some(to) = filter.issued_to {
        issued_on.insert("$lte", to.to_string());
    }
    let mut created_at = Document::new();
    if let Some(from) = filter.created_from {
        created_at.insert("$gte", start_of(from)?);
    }
    // The day after the last one that there is has no start: then nothing is later.
    if let Some(next) = filter.created_to.and_then(|to| to.tomorrow().ok()) {
        created_at.insert("$lt", start_of(next)?);
    }
    if let Some(after) = after {
        // Implied by what follows; said so that the index is entered at the right place.
        created_at.insert("$lte", after.created_at);
        query.insert(
            "$or",
            vec![
                doc! {"created_at": {"$lt": after.created_at}},
                doc! {"created_at": after.created_at, "_id": {"$lt": after.id.to_string()}},
            ],
        );
    }
    for (field, bounds) in [("issued_on", issued_on), ("created_at", created_at)] {
        if !bounds.is_empty() {
            query.insert(field, bounds);
        }
    }
    if let Some(part) = filter.q.as_deref().filter(|part| !part.is_empty()) {
        query.insert("search", doc! {"$regex": literal(&part.to_lowercase())});
    }
    Ok(query)
}

/// The invoices whose time has come.
pub(super) fn due(shards: Option<&[ShardId]>, now: Timestamp) -> Document {
    let mut query = doc! {"wake_at": {"$lte": date_time(now)}};
    if let Some(shards) = shards.filter(|shards| shards.len() < usize::from(SHARDS)) {
        let numbers: Vec<Bson> = shards
            .iter()
            .map(|shard| i32::from(shard.0).into())
            .collect();
        query.insert("shard", doc! {"$in": numbers});
    }
    query
}

/// The invoices with events that have no place in the feed yet.
pub(super) fn unpublished() -> Document {
    // Not $exists, for which a sparse index would not be used.
    doc! {"unpublished_since": {"$gt": DateTime::MIN}}
}

/// A regular expression that finds `text` as it stands.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // A pattern can't hold a NUL.
            '\0' => pattern.push_str("\\x00"),
            _ if character.is_ascii_punctuation() || character == ' ' => {
                pattern.push('\\');
                pattern.push(character);
            }
            _ => pattern.push(character),
        }
    }
    pattern
}

fn index(name: &str, keys: Document) -> IndexModel {
    with(name, keys, IndexOptions::default())
}

fn with(name: &str, keys: Document, mut options: IndexOptions) -> IndexModel {
    options.name = Some(name.to_owned());
    IndexModel::builder().keys(keys).options(options).build()
}

/// One for each filter, in the order of lists; and the clock's and the publisher's.
pub(super) fn invoice_indexes() -> Vec<IndexModel> {
    let mut sparse = IndexOptions::default();
    sparse.sparse = Some(true);
    vec![
        // Status and search text ride along, so that both are decided in the index.
        index(
            "by_creation",
            doc! {"organization": 1, "created_at": -1, "_id": -1, "status": 1, "search": 1},
        ),
        index(
            "by_status",
            doc! {"organization": 1, "status": 1, "created_at": -1, "_id": -1},
        ),
        index(
            "by_customer",
            doc! {"organization": 1, "customer": 1, "created_at": -1, "_id": -1},
        ),
        index(
            "by_currency",
            doc! {"organization": 1, "currency": 1, "created_at": -1, "_id": -1},
        ),
        index(
            "by_number",
            doc! {"organization": 1, "number": 1, "created_at": -1, "_id": -1},
        ),
        index(
            "by_issue",
            doc! {"organization": 1, "issued_on": 1, "created_at": -1, "_id": -1},
        ),
        index(
            "by_overdue",
            doc! {"organization": 1, "overdue": 1, "created_at": -1, "_id": -1},
        ),
        index("by_alarm", doc! {"wake_at": 1, "shard": 1}),
        with("unpublished", doc! {"unpublished_since": 1}, sparse),
    ]
}

pub(super) fn feed_indexes() -> Vec<IndexModel> {
    let mut unique = IndexOptions::default();
    unique.unique = Some(true);
    vec![
        with("by_position", doc! {"position": 1}, unique),
        index("of_organization", doc! {"organization": 1, "position": 1}),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_has_no_wildcards() {
        assert_eq!(literal("50%.* (ä)\\"), r"50\%\.\*\ \(ä\)\\");
        assert_eq!(literal("a\0\n"), "a\\x00\n");
    }
}
