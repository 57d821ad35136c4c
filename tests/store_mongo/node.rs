//! A whole node that keeps its invoices in MongoDB.

use bson::{Document, doc};
use faktor::app::App;
use faktor::clock::Clock;
use faktor::config::Secret;

use crate::database::TestDatabase;
use crate::support::{TestApp, config};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_its_invoices_in_mongodb() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let url = Secret::new(database.url.clone());
    let app = TestApp::start_with(|config| config.storage.invoices = url).await;
    let id = app.open_invoice().await;
    app.until(&id, "rendered", |invoice| {
        invoice["document"]["status"] == "ready"
    })
    .await;
    let events = app.get("/v1/events").await.expect(200);
    assert_eq!(events["data"][0]["type"], "invoice.created", "{events:#}");

    let stored = database.database.collection::<Document>("invoices");
    let found = stored.find_one(doc! {"_id": &id}).await.unwrap().unwrap();
    assert_eq!(found.get_str("status").unwrap(), "open");
    let readiness = app.get("/health/readiness").await.expect(200).to_string();
    assert!(readiness.contains("invoices"), "{readiness}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_mongodb_does_not_start_and_says_where_it_should_be() {
    let dir = tempfile::tempdir().unwrap();
    for (url, reason) in [
        (
            "mongodb://user:secret-word@127.0.0.1:1/faktor",
            "127.0.0.1:1",
        ),
        (
            "mongodb://user:secret-word@127.0.0.1:1",
            "names no database",
        ),
        (
            "mongodb://user:secret-word@127.0.0.1:1/faktor?w=what&x=",
            "127.0.0.1:1",
        ),
    ] {
        let mut config = config(&dir);
        config.server.start_timeout_s = 1;
        config.storage.connect_timeout_ms = 200;
        config.storage.invoices = Secret::new(url.to_owned());
        let Err(error) = App::start(config, Clock::System).await else {
            panic!("{url} is no MongoDB");
        };
        let line = error.to_string();
        assert!(
            line.contains("invoices (MongoDB) at mongodb://127.0.0.1:1"),
            "{line}"
        );
        assert!(line.contains(reason), "{line}");
        assert!(!line.contains("secret-word"), "{line}");
    }
}
