use std::collections::HashMap;
use std::sync::Arc;

use bson::{Document, doc};
use faktor::domain::invoice::Invoice;
use faktor::domain::invoice::event::PublicEvent;
use faktor::store::Stores;
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;

use crate::database::{PATIENCE, TestDatabase, stores};
use crate::proxy::Proxy;
use crate::sample::{change, creation, draft, event, new_organization};

async fn whole_feed(stores: &Stores) -> Vec<PublicEvent> {
    let placed = stores.feed.placed_after(0, 10_000).await.unwrap();
    let positions: Vec<u64> = placed.iter().map(|placed| placed.position).collect();
    let expected: Vec<u64> = (1..=placed.len() as u64).collect();
    assert_eq!(positions, expected, "a position has no hole before it");
    placed.into_iter().map(|placed| placed.event).collect()
}

async fn written(stores: &Stores, changes: usize) -> Invoice {
    let mut invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    for _ in 0..changes {
        let commit = change(&invoice, |_| {});
        invoice = (*commit.invoice).clone();
        stores.invoices.commit(commit).await.unwrap();
    }
    invoice
}

#[tokio::test(flavor = "multi_thread")]
async fn several_publishers_at_once_place_each_event_once_and_in_order() {
    const INVOICES: usize = 12;
    const CHANGES: usize = 15;
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let relational = database.relational().await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(stores(&database.url, relational.clone(), PATIENCE).await);
    }
    let total = INVOICES * (1 + CHANGES);
    let writers = (0..INVOICES).map(|number| written(&nodes[number % 3], CHANGES));
    let publishers = nodes.iter().map(|node| async {
        // Until all have their places, whoever gave them.
        loop {
            node.feed.publish(7).await.unwrap();
            let unknown = faktor::domain::ids::EventId::new(faktor::clock::new_uuid());
            let organization = new_organization();
            // A reader with a strange cursor makes this node look, too.
            node.feed
                .feed(organization, Some(unknown), 1)
                .await
                .unwrap();
            if node
                .feed
                .placed_after(total as u64 - 1, 1)
                .await
                .unwrap()
                .len()
                == 1
            {
                break;
            }
        }
    });
    let reader = async {
        let mut seen = Vec::new();
        while seen.len() < total {
            let part = nodes[0]
                .feed
                .placed_after(seen.len() as u64, 5)
                .await
                .unwrap();
            for placed in part {
                assert_eq!(placed.position, seen.len() as u64 + 1, "no hole, ever");
                seen.push(placed.event);
            }
        }
        seen
    };
    let (_, _, seen) = tokio::join!(join_all(writers), join_all(publishers), reader);
    assert_eq!(whole_feed(&nodes[1]).await, seen);
    let mut next = HashMap::new();
    for event in &seen {
        let version = next.entry(event.invoice).or_insert(1);
        assert_eq!(event.version, *version, "an invoice's events are in order");
        *version += 1;
    }
    assert_eq!(next.len(), INVOICES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_another_node_took_in_the_meantime_is_given_once() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.url).await;
    let node = stores(&proxy.url, database.relational().await, PATIENCE).await;
    let first = written(&node, 0).await;
    assert_eq!(node.feed.publish(10).await.unwrap(), 1);
    let second = written(&node, 1).await;

    // The node knows that position 2 is free, and is about to take it.
    let mut held = proxy.hold("insert");
    let feed = Arc::clone(&node.feed);
    let publishing = tokio::spawn(async move { feed.publish(10).await });
    held.arrived().await;
    let collection = database.database.collection::<Document>("feed");
    let mut other = collection.find_one(doc! {}).await.unwrap().unwrap();
    other.insert("_id", "evt_of_another_node");
    other.insert("position", 2_i64);
    collection.insert_one(other).await.unwrap();
    held.let_go();

    assert_eq!(publishing.await.unwrap().unwrap(), 2);
    let seen: Vec<_> = whole_feed(&node)
        .await
        .iter()
        .map(|event| (event.invoice, event.version))
        .collect();
    let (first, second) = (first.id, second.id);
    assert_eq!(seen, [(first, 1), (first, 1), (second, 1), (second, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_a_crash_left_behind_are_found_by_the_next_process() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let relational = database.relational().await;
    let crashed = stores(&database.url, relational.clone(), PATIENCE).await;
    let invoice = written(&crashed, 2).await;
    drop(crashed);
    let next = stores(&database.url, relational, PATIENCE).await;
    assert_eq!(next.feed.publish(500).await.unwrap(), 3);
    let versions: Vec<_> = whole_feed(&next)
        .await
        .iter()
        .map(|it| it.version)
        .collect();
    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(invoice.version, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_feed_and_the_outbox_doubles_nothing() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.url).await;
    let relational = database.relational().await;
    let crashing = stores(&proxy.url, relational.clone(), PATIENCE).await;
    let first = written(&crashing, 3).await;
    let invoices = database.database.collection::<Document>("invoices");
    let full: Document = invoices.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(crashing.feed.publish(500).await.unwrap(), 4);
    // As if the outbox had not been emptied.
    let left = doc! {"$set": {
        "outbox": full.get_array("outbox").unwrap(),
        "unpublished_since": full.get_datetime("unpublished_since").unwrap(),
    }};
    invoices.update_one(doc! {}, left).await.unwrap();

    let next = stores(&database.url, relational, PATIENCE).await;
    let second = written(&next, 1).await;
    while next.feed.publish(500).await.unwrap() > 0 {}
    let seen: Vec<_> = whole_feed(&next)
        .await
        .iter()
        .map(|event| (event.invoice, event.version))
        .collect();
    let expected = (1..=4)
        .map(|version| (first.id, version))
        .chain((1..=2).map(|version| (second.id, version)));
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let waiting = doc! {"$or": [
        {"unpublished_since": {"$exists": true}},
        {"outbox": {"$ne": []}},
    ]};
    let left: Vec<Document> = invoices
        .find(waiting)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(left, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_of_the_publisher_double_nothing() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.url).await;
    let node = stores(&proxy.url, database.relational().await, PATIENCE).await;
    for round in 1..=4_usize {
        let invoice = written(&node, 2).await;
        for command in ["insert", "update"] {
            proxy.lose_reply_to(command);
        }
        let mut failures = 0;
        loop {
            match node.feed.publish(500).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => failures += 1,
            }
        }
        assert_eq!(failures, 2);
        let feed = whole_feed(&node).await;
        assert_eq!(feed.len(), round * 3);
        assert_eq!(feed.last(), Some(&event(&invoice)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_with_nothing_to_do_asks_nobody() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.url).await;
    let node = stores(&proxy.url, database.relational().await, PATIENCE).await;
    assert_eq!(node.feed.publish(500).await.unwrap(), 0);
    assert_eq!(proxy.names(), ["find"], "at first, for what a crash left");
    for _ in 0..100 {
        assert_eq!(node.feed.publish(500).await.unwrap(), 0);
    }
    assert_eq!(proxy.names(), Vec::<String>::new());
    // Two hundred new invoices: as many round trips as one.
    for _ in 0..200 {
        let commit = creation(&draft(new_organization()));
        node.invoices.commit(commit).await.unwrap();
    }
    proxy.commands();
    assert_eq!(node.feed.publish(500).await.unwrap(), 200);
    assert_eq!(proxy.names(), ["find", "find", "insert", "update"]);
}
