use faktor::store::{InboxMessage, Stores};
use futures_util::future::join_all;

use crate::sample::at;

fn message(event_id: &str, received_at: i64) -> InboxMessage {
    InboxMessage {
        provider: "sandbox".to_owned(),
        event_id: event_id.to_owned(),
        body: vec![0, 159, 146, 150],
        received_at: at(received_at),
        attempts: 0,
        next_attempt_at: at(received_at),
        last_error: None,
        parked: false,
    }
}

async fn waiting(stores: &Stores, now: i64) -> Vec<String> {
    let messages = stores.inbox.undelivered(at(now), 10).await.unwrap();
    messages
        .into_iter()
        .map(|message| message.event_id)
        .collect()
}

pub(crate) async fn the_same_event_is_received_once(stores: &Stores) {
    let receipts = (0..20).map(|_| stores.inbox.receive(message("evt_1", 0)));
    let new: Vec<_> = join_all(receipts)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(new.iter().filter(|is_new| **is_new).count(), 1);
    let mut of_another_provider = message("evt_1", 0);
    of_another_provider.provider = "another".to_owned();
    assert!(stores.inbox.receive(of_another_provider).await.unwrap());
    stores.inbox.delivered("sandbox", "evt_1").await.unwrap();
    assert!(!stores.inbox.receive(message("evt_1", 5)).await.unwrap());
    assert_eq!(waiting(stores, 10).await.len(), 1);
}

pub(crate) async fn undelivered_messages_come_back_until_they_are_delivered_or_parked(
    stores: &Stores,
) {
    for (event_id, received_at) in [("c", 3), ("a", 1), ("b", 2), ("later", 100)] {
        assert!(
            stores
                .inbox
                .receive(message(event_id, received_at))
                .await
                .unwrap()
        );
    }
    assert_eq!(waiting(stores, 50).await, ["a", "b", "c"]);
    let first = stores.inbox.undelivered(at(50), 1).await.unwrap().remove(0);
    assert_eq!(first.body, message("a", 1).body);
    assert_eq!(first.received_at, at(1));

    stores.inbox.delivered("sandbox", "a").await.unwrap();
    stores
        .inbox
        .failed("sandbox", "b", "no such invoice", at(60), false)
        .await
        .unwrap();
    stores
        .inbox
        .failed("sandbox", "c", "unreadable", at(60), true)
        .await
        .unwrap();
    assert_eq!(waiting(stores, 59).await, Vec::<String>::new());
    let retried = stores.inbox.undelivered(at(60), 10).await.unwrap();
    assert_eq!(retried.len(), 1);
    assert_eq!(
        (retried[0].event_id.as_str(), retried[0].attempts),
        ("b", 1)
    );
    assert_eq!(retried[0].last_error.as_deref(), Some("no such invoice"));
    assert_eq!(waiting(stores, 100).await, ["b", "later"]);
}

pub(crate) async fn delivered_messages_are_forgotten_oldest_first_and_no_others(stores: &Stores) {
    let inbox = &stores.inbox;
    let names = ["a", "b", "c", "d", "parked", "waiting"];
    for (event_id, received_at) in names.into_iter().zip([1, 2, 3, 9, 1, 1]) {
        inbox.receive(message(event_id, received_at)).await.unwrap();
    }
    for delivered in ["d", "c", "b", "a"] {
        inbox.delivered("sandbox", delivered).await.unwrap();
    }
    inbox
        .failed("sandbox", "parked", "unreadable", at(1), true)
        .await
        .unwrap();
    assert_eq!(inbox.forget_delivered(at(3), 1).await, Ok(1));
    // What is forgotten can be received once more.
    assert!(inbox.receive(message("a", 20)).await.unwrap());
    assert!(!inbox.receive(message("b", 20)).await.unwrap());
    assert_eq!(inbox.forget_delivered(at(3), 10).await, Ok(1));
    assert_eq!(inbox.forget_delivered(at(3), 10).await, Ok(0));
    for kept in ["c", "d", "parked", "waiting"] {
        assert!(!inbox.receive(message(kept, 20)).await.unwrap(), "{kept}");
    }
}
