use faktor::clock;
use faktor::domain::ids::{EventId, OrganizationId};
use faktor::domain::invoice::event::PublicEvent;
use faktor::store::{StoreError, Stores};
use futures_util::future::join_all;

use crate::sample::{change, creation, draft, event, new_organization};

async fn follow(stores: &Stores, organization: OrganizationId, limit: u16) -> Vec<PublicEvent> {
    let mut seen: Vec<PublicEvent> = Vec::new();
    loop {
        let after = seen.last().map(|event| event.id);
        let part = stores
            .feed
            .feed(organization, after, limit)
            .await
            .unwrap()
            .unwrap();
        assert!(part.len() <= usize::from(limit));
        if part.is_empty() {
            return seen;
        }
        seen.extend(part);
    }
}

pub(crate) async fn events_stand_in_the_feed_in_the_order_of_their_commits(stores: &Stores) {
    let (one, two) = (new_organization(), new_organization());
    let mut expected = Vec::new();
    for _ in 0..5 {
        for organization in [one, two] {
            let invoice = draft(organization);
            let second = change(&invoice, |_| {});
            expected.push(event(&invoice));
            expected.push(event(&second.invoice));
            stores.invoices.commit(creation(&invoice)).await.unwrap();
            stores.invoices.commit(second).await.unwrap();
        }
    }
    let mut published = 0;
    loop {
        let part = stores.feed.publish(7).await.unwrap();
        assert!(part <= 7);
        if part == 0 {
            break;
        }
        published += part;
    }
    assert_eq!(published, expected.len() as u64);
    for organization in [one, two] {
        let expected: Vec<_> = expected
            .iter()
            .filter(|event| event.organization == organization)
            .cloned()
            .collect();
        assert_eq!(follow(stores, organization, 3).await, expected);
    }
}

/// Commits and the publisher run at the same time; a reader goes by its cursor alone.
pub(crate) async fn a_reader_that_follows_its_cursor_misses_nothing(stores: &Stores) {
    let organization = new_organization();
    let writers = (0..8).map(|_| async {
        let mut invoice = draft(organization);
        stores.invoices.commit(creation(&invoice)).await.unwrap();
        for _ in 0..12 {
            let commit = change(&invoice, |_| {});
            invoice = (*commit.invoice).clone();
            stores.invoices.commit(commit).await.unwrap();
        }
    });
    let total: usize = 8 * 13;
    let publisher = async {
        let mut published = 0;
        while published < total as u64 {
            published += stores.feed.publish(5).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let reader = async {
        let mut seen: Vec<PublicEvent> = Vec::new();
        while seen.len() < total {
            let after = seen.last().map(|event| event.id);
            let part = stores
                .feed
                .feed(organization, after, 3)
                .await
                .unwrap()
                .unwrap();
            seen.extend(part);
            tokio::task::yield_now().await;
        }
        seen
    };
    let (_, (), seen) = tokio::join!(join_all(writers), publisher, reader);
    assert_eq!(seen, follow(stores, organization, 50).await);
    let mut next_version = std::collections::HashMap::new();
    for event in seen {
        let expected = next_version.entry(event.invoice).or_insert(1);
        assert_eq!(
            event.version, *expected,
            "the events of one invoice are in order"
        );
        *expected += 1;
    }
}

pub(crate) async fn each_event_is_published_once(stores: &Stores) {
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    assert_eq!(stores.feed.publish(10).await.unwrap(), 1);
    assert_eq!(stores.feed.publish(10).await.unwrap(), 0);
    assert_eq!(
        stores
            .invoices
            .events_of(invoice.id, 0, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

pub(crate) async fn an_unknown_event_is_no_cursor(stores: &Stores) {
    let (mine, other) = (new_organization(), new_organization());
    let invoice = draft(other);
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    stores.feed.publish(10).await.unwrap();
    for unknown in [EventId::new(clock::new_uuid()), event(&invoice).id] {
        assert_eq!(
            stores.feed.feed(mine, Some(unknown), 10).await.unwrap(),
            None
        );
    }
    assert_eq!(
        stores.feed.feed(mine, None, 10).await.unwrap(),
        Some(vec![])
    );
}

pub(crate) async fn an_event_is_a_cursor_as_soon_as_it_is_committed(stores: &Stores) {
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let after = Some(event(&invoice).id);
    assert_eq!(
        stores
            .feed
            .feed(invoice.organization, after, 10)
            .await
            .unwrap(),
        Some(vec![])
    );
}

pub(crate) async fn events_of_a_refused_commit_are_not_published(stores: &Stores) {
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    stores.feed.publish(10).await.unwrap();
    let again = stores.invoices.commit(creation(&invoice)).await;
    assert_eq!(again, Err(StoreError::Conflict));
    assert_eq!(stores.feed.publish(10).await.unwrap(), 0);
    assert_eq!(follow(stores, invoice.organization, 10).await.len(), 1);
}

pub(crate) async fn the_whole_feed_is_read_by_position(stores: &Stores) {
    let organizations = [new_organization(), new_organization()];
    let mut expected = Vec::new();
    for number in 0..6 {
        let invoice = draft(organizations[number % 2]);
        expected.push(event(&invoice));
        stores.invoices.commit(creation(&invoice)).await.unwrap();
        while stores.feed.publish(500).await.unwrap() > 0 {}
    }
    let mut read = Vec::new();
    let mut position = 0;
    loop {
        let part = stores.feed.placed_after(position, 4).await.unwrap();
        assert!(part.len() <= 4);
        let Some(last) = part.last() else { break };
        assert!(part.is_sorted_by(|one, next| one.position < next.position));
        assert!(part[0].position > position);
        position = last.position;
        read.extend(part.into_iter().map(|placed| placed.event));
    }
    assert_eq!(read, expected);
}

pub(crate) async fn a_reader_finds_how_far_it_had_come(stores: &Stores) {
    let feed = &stores.feed;
    assert_eq!(feed.cursor("kafka").await.unwrap(), 0);
    feed.note_cursor("kafka", 7).await.unwrap();
    feed.note_cursor("other", 3).await.unwrap();
    feed.note_cursor("kafka", 9).await.unwrap();
    feed.note_cursor("kafka", 8).await.unwrap();
    assert_eq!(feed.cursor("kafka").await.unwrap(), 9);
    assert_eq!(feed.cursor("other").await.unwrap(), 3);
}
