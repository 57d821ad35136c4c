//! Every list, alarm and feed query is served by an index. The commands are taken from the wire and
//! explained by the server; one that can't explain says so.

use bson::{Bson, Document, doc};
use faktor::clock;
use faktor::domain::ids::CustomerId;
use faktor::domain::invoice::{State, Status};
use faktor::store::{InvoiceFilter, PageRequest, ShardId, Stores};
use jiff::civil::date;

use crate::database::{PATIENCE, TestDatabase, stores};
use crate::proxy::Proxy;
use crate::sample::{
    at, change, creation, currency, draft, event, for_customer, issued, new_organization, noon,
    waking,
};

/// The names of a plan's stages, and of the indexes that they read.
fn stages(plan: &Document, found: &mut Vec<String>) {
    for (key, value) in plan {
        match (key.as_str(), value) {
            ("stage" | "indexName", Bson::String(name)) => found.push(name.clone()),
            ("rejectedPlans", _) => {}
            (_, Bson::Document(inner)) => stages(inner, found),
            (_, Bson::Array(items)) => {
                for item in items {
                    if let Bson::Document(inner) = item {
                        stages(inner, found);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A `find` as it went over the wire, without what belongs to its session.
fn explainable(mut command: Document) -> Document {
    for session in [
        "lsid",
        "$db",
        "$clusterTime",
        "$readPreference",
        "readConcern",
    ] {
        command.remove(session);
    }
    doc! {"explain": command, "verbosity": "queryPlanner"}
}

/// Enough of everything that an index is worth its while, and one of each that is looked for.
async fn fill(stores: &Stores) -> (faktor::domain::invoice::Invoice, CustomerId) {
    let organization = new_organization();
    for _ in 0..300 {
        stores
            .invoices
            .commit(creation(&draft(organization)))
            .await
            .unwrap();
    }
    while stores.feed.publish(500).await.unwrap() > 0 {}
    let customer = CustomerId::new(clock::new_uuid());
    let mut wanted = waking(for_customer(draft(organization), customer), at(5));
    wanted.content_mut().currency = currency("JPY");
    wanted.created_at = noon(date(2026, 3, 5));
    stores.invoices.commit(creation(&wanted)).await.unwrap();
    let open = change(&wanted, |after| {
        let issued = issued("2026-0042", date(2026, 3, 6), true);
        after.state = State::Open { issued };
    });
    stores.invoices.commit(open.clone()).await.unwrap();
    ((*open.invoice).clone(), customer)
}

/// Each filter with the index that serves it.
fn filters(customer: CustomerId) -> Vec<(InvoiceFilter, &'static str)> {
    let any = InvoiceFilter::default;
    vec![
        (any(), "by_creation"),
        (
            InvoiceFilter {
                q: Some("ada".to_owned()),
                ..any()
            },
            "by_creation",
        ),
        (
            InvoiceFilter {
                created_from: Some(date(2026, 3, 5)),
                ..any()
            },
            "by_creation",
        ),
        (
            InvoiceFilter {
                status: Some(Status::Open),
                ..any()
            },
            "by_status",
        ),
        (
            InvoiceFilter {
                customer: Some(customer),
                ..any()
            },
            "by_customer",
        ),
        (
            InvoiceFilter {
                currency: Some(currency("JPY")),
                ..any()
            },
            "by_currency",
        ),
        (
            InvoiceFilter {
                number: Some("2026-0042".to_owned()),
                ..any()
            },
            "by_number",
        ),
        (
            InvoiceFilter {
                issued_from: Some(date(2026, 3, 6)),
                ..any()
            },
            "by_issue",
        ),
        (
            InvoiceFilter {
                overdue: Some(true),
                ..any()
            },
            "by_overdue",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_is_served_by_its_index() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.url).await;
    let node = stores(&proxy.url, database.relational().await, PATIENCE).await;
    let trial = explainable(doc! {"find": "invoices", "filter": {"organization": "none"}});
    if let Err(error) = database.database.run_command(trial).await {
        eprintln!("skipped: this server can't explain: {error}");
        return;
    }
    let (invoice, customer) = fill(&node).await;
    proxy.commands();

    let mut expected = Vec::new();
    let page = PageRequest {
        limit: 20,
        starting_after: None,
    };
    for (filter, index) in filters(customer) {
        let found = node
            .invoices
            .list(invoice.organization, &filter, &page)
            .await
            .unwrap();
        assert!(!found.data.is_empty(), "{filter:?}");
        expected.push(index);
    }
    let shards = [ShardId::of(invoice.id)];
    node.invoices.due(None, at(10), 20).await.unwrap();
    node.invoices.due(Some(&shards), at(10), 20).await.unwrap();
    expected.extend(["by_alarm", "by_alarm"]);
    node.feed.publish(500).await.unwrap();
    expected.extend(["unpublished", "by_position"]);
    node.feed.placed_after(100, 20).await.unwrap();
    expected.push("by_position");
    let finds = |commands: Vec<Document>| -> Vec<Document> {
        commands
            .into_iter()
            .filter(|it| it.contains_key("find"))
            .collect()
    };
    let mut commands = finds(proxy.commands());
    let after = Some(event(&invoice).id);
    node.feed
        .feed(invoice.organization, after, 20)
        .await
        .unwrap();
    commands.extend(finds(proxy.commands()).pop());
    expected.push("of_organization");

    assert_eq!(commands.len(), expected.len());
    for (command, index) in commands.into_iter().zip(expected) {
        let plan = database
            .database
            .run_command(explainable(command.clone()))
            .await
            .unwrap();
        let planner = plan.get_document("queryPlanner").unwrap();
        let mut found = Vec::new();
        stages(planner.get_document("winningPlan").unwrap(), &mut found);
        assert!(
            !found.contains(&"COLLSCAN".to_owned()),
            "{command}: {found:?}"
        );
        assert!(found.contains(&index.to_owned()), "{command}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_indexes_are_made_once_and_are_there_after_every_start() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let names = async |collection: &str| {
        let collection = database.database.collection::<Document>(collection);
        let mut names = collection.list_index_names().await.unwrap();
        names.sort();
        names
    };
    let relational = database.relational().await;
    for _ in 0..2 {
        stores(&database.url, relational.clone(), PATIENCE).await;
        assert_eq!(
            names("invoices").await,
            [
                "_id_",
                "by_alarm",
                "by_creation",
                "by_currency",
                "by_customer",
                "by_issue",
                "by_number",
                "by_overdue",
                "by_status",
                "unpublished",
            ]
        );
        assert_eq!(
            names("feed").await,
            ["_id_", "by_position", "of_organization"]
        );
    }
}
