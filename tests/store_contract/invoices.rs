use faktor::clock;
use faktor::domain::ids::InvoiceId;
use faktor::domain::invoice::entry::Entry;
use faktor::store::{Commit, Epoch, SHARDS, ShardId, StoreError, Stores};
use futures_util::future::join_all;

use crate::sample::{at, change, creation, draft, event, new_organization, waking};

pub(crate) async fn what_is_committed_is_loaded_as_it_was(stores: &Stores) {
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    assert_eq!(
        stores.invoices.load(invoice.id).await.unwrap(),
        Some(invoice.clone())
    );

    let commit = change(&invoice, |after| after.first_viewed_at = Some(at(5)));
    let after = (*commit.invoice).clone();
    stores.invoices.commit(commit).await.unwrap();
    assert_eq!(stores.invoices.load(invoice.id).await.unwrap(), Some(after));
}

pub(crate) async fn an_unknown_invoice_is_nothing(stores: &Stores) {
    let unknown = InvoiceId::new(clock::new_uuid());
    assert_eq!(stores.invoices.load(unknown).await.unwrap(), None);
    assert_eq!(
        stores.invoices.history(unknown, 0, 10).await.unwrap(),
        vec![]
    );
    assert_eq!(
        stores.invoices.events_of(unknown, 0, 10).await.unwrap(),
        vec![]
    );
}

pub(crate) async fn a_second_create_of_the_same_id_is_a_conflict_and_changes_nothing(
    stores: &Stores,
) {
    let first = draft(new_organization());
    let mut second = first.clone();
    second.page_secret = "another".to_owned();
    stores.invoices.commit(creation(&first)).await.unwrap();
    let refusal = stores.invoices.commit(creation(&second)).await.unwrap_err();
    assert_eq!(refusal, StoreError::Conflict);
    assert_eq!(
        stores.invoices.load(first.id).await.unwrap(),
        Some(first.clone())
    );
    assert_eq!(
        stores
            .invoices
            .history(first.id, 0, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

pub(crate) async fn a_change_of_an_older_version_is_a_conflict_and_changes_nothing(
    stores: &Stores,
) {
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let winner = change(&invoice, |after| after.next_effect = 11);
    let loser = change(&invoice, |after| after.next_effect = 22);
    stores.invoices.commit(winner).await.unwrap();
    assert_eq!(
        stores.invoices.commit(loser).await.unwrap_err(),
        StoreError::Conflict
    );
    assert_eq!(
        stores
            .invoices
            .load(invoice.id)
            .await
            .unwrap()
            .unwrap()
            .next_effect,
        11
    );
    assert_eq!(
        stores
            .invoices
            .history(invoice.id, 0, 10)
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        stores
            .invoices
            .events_of(invoice.id, 0, 10)
            .await
            .unwrap()
            .len(),
        2
    );
}

pub(crate) async fn a_change_of_an_unknown_invoice_is_a_conflict(stores: &Stores) {
    let never_created = draft(new_organization());
    let commit = change(&never_created, |_| {});
    assert_eq!(
        stores.invoices.commit(commit).await.unwrap_err(),
        StoreError::Conflict
    );
    assert_eq!(stores.invoices.load(never_created.id).await.unwrap(), None);
}

pub(crate) async fn an_older_epoch_is_refused_and_the_same_or_a_newer_one_is_taken(
    stores: &Stores,
) {
    let invoice = draft(new_organization());
    let by = |epoch, commit: Commit| Commit {
        epoch: Epoch(epoch),
        ..commit
    };
    stores
        .invoices
        .commit(by(5, creation(&invoice)))
        .await
        .unwrap();
    let second = change(&invoice, |_| {});
    let refusal = stores
        .invoices
        .commit(by(4, second.clone()))
        .await
        .unwrap_err();
    assert_eq!(refusal, StoreError::NotOwner);
    let third = change(&second.invoice, |_| {});
    stores.invoices.commit(by(5, second)).await.unwrap();
    stores.invoices.commit(by(6, third.clone())).await.unwrap();
    let fourth = change(&third.invoice, |_| {});
    assert_eq!(
        stores.invoices.commit(by(5, fourth)).await.unwrap_err(),
        StoreError::NotOwner
    );
    assert_eq!(
        stores
            .invoices
            .load(invoice.id)
            .await
            .unwrap()
            .unwrap()
            .version,
        3
    );
}

pub(crate) async fn of_many_changes_of_one_version_exactly_one_wins(stores: &Stores) {
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let commits = (0..50).map(|number| change(&invoice, |after| after.next_effect = number));
    let answers = join_all(commits.map(|commit| stores.invoices.commit(commit))).await;
    let winners: Vec<_> = (0..50)
        .zip(answers)
        .filter(|(_, answer)| answer.is_ok())
        .collect();
    assert_eq!(winners.len(), 1);
    let kept = stores.invoices.load(invoice.id).await.unwrap().unwrap();
    assert_eq!((kept.version, kept.next_effect), (2, winners[0].0));
    assert_eq!(
        stores
            .invoices
            .history(invoice.id, 0, 100)
            .await
            .unwrap()
            .len(),
        2
    );
}

pub(crate) async fn a_refused_command_leaves_its_neighbours_alone(stores: &Stores) {
    let organization = new_organization();
    let existing: Vec<_> = (0..40).map(|_| draft(organization)).collect();
    for answer in join_all(
        existing
            .iter()
            .map(|it| stores.invoices.commit(creation(it))),
    )
    .await
    {
        answer.unwrap();
    }
    // In one go: creates, changes, repeated creates and changes of a version that never was; each of
    // another invoice.
    let mut commits = Vec::new();
    for (number, invoice) in existing.iter().enumerate() {
        commits.push((creation(&draft(organization)), true));
        commits.push(match number % 4 {
            0 => (creation(invoice), false),
            1 => {
                let mut never_was = invoice.clone();
                never_was.version = 7;
                (change(&never_was, |_| {}), false)
            }
            _ => (change(invoice, |after| after.next_effect = 9), true),
        });
    }
    let answers = join_all(
        commits
            .iter()
            .map(|(commit, _)| stores.invoices.commit(commit.clone())),
    )
    .await;
    for ((commit, expected), answer) in commits.iter().zip(answers) {
        if *expected {
            assert_eq!(answer, Ok(()));
            let kept = stores.invoices.load(commit.invoice.id).await.unwrap();
            assert_eq!(kept.as_ref(), Some(commit.invoice.as_ref()));
            let versions = commit.invoice.version;
            let history = stores
                .invoices
                .history(commit.invoice.id, 0, 10)
                .await
                .unwrap();
            assert_eq!(history.len() as u64, versions);
        } else {
            assert_eq!(answer, Err(StoreError::Conflict));
        }
    }
}

pub(crate) async fn a_commit_with_a_gap_in_its_versions_is_refused(stores: &Stores) {
    let invoice = draft(new_organization());
    let mut no_entries = creation(&invoice);
    no_entries.recorded.clear();
    let mut too_far = creation(&invoice);
    too_far.recorded[0].version = 2;
    let mut short = creation(&invoice);
    short.invoice = change(&invoice, |_| {}).invoice;
    let mut stray_event = creation(&invoice);
    stray_event.events[0].version = 7;
    for commit in [no_entries, too_far, short, stray_event] {
        let refusal = stores.invoices.commit(commit).await.unwrap_err();
        assert!(matches!(refusal, StoreError::Corrupt { .. }), "{refusal:?}");
    }
    assert_eq!(stores.invoices.load(invoice.id).await.unwrap(), None);
}

pub(crate) async fn several_entries_of_one_command_are_all_in_the_history(stores: &Stores) {
    let first = draft(new_organization());
    let second = change(&first, |_| {});
    let third = change(&second.invoice, |_| {});
    let mut commit = creation(&first);
    commit.invoice = third.invoice;
    commit.recorded.extend(second.recorded);
    commit.recorded.extend(third.recorded);
    commit.events.extend(third.events);
    let recorded = commit.recorded.clone();
    stores.invoices.commit(commit).await.unwrap();
    assert_eq!(
        stores.invoices.history(first.id, 0, 10).await.unwrap(),
        recorded
    );
    let events = stores.invoices.events_of(first.id, 0, 10).await.unwrap();
    assert_eq!(
        events.iter().map(|event| event.version).collect::<Vec<_>>(),
        [1, 3]
    );
}

pub(crate) async fn history_and_events_come_in_order_and_in_parts(stores: &Stores) {
    let mut invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    for _ in 2..=12 {
        let commit = change(&invoice, |after| {
            after.updated_at = at(i64::from(after.next_effect));
        });
        invoice = (*commit.invoice).clone();
        stores.invoices.commit(commit).await.unwrap();
    }
    let versions = |history: Vec<faktor::domain::invoice::entry::Recorded>| {
        history
            .into_iter()
            .map(|recorded| recorded.version)
            .collect::<Vec<_>>()
    };
    let history = stores.invoices.history(invoice.id, 0, 5).await.unwrap();
    assert!(matches!(history[0].entry, Entry::Edited { .. }));
    assert_eq!(versions(history), [1, 2, 3, 4, 5]);
    assert_eq!(
        versions(stores.invoices.history(invoice.id, 10, 5).await.unwrap()),
        [11, 12]
    );
    assert!(
        stores
            .invoices
            .history(invoice.id, 12, 5)
            .await
            .unwrap()
            .is_empty()
    );
    let events = stores.invoices.events_of(invoice.id, 11, 5).await.unwrap();
    assert_eq!(events, vec![event(&invoice)]);
}

pub(crate) async fn due_gives_the_earliest_first_and_only_of_the_shards_asked_for(stores: &Stores) {
    let organization = new_organization();
    let invoices: Vec<_> = (0..30_i64)
        .map(|number| waking(draft(organization), at(1_000 - number)))
        .collect();
    for invoice in &invoices {
        stores.invoices.commit(creation(invoice)).await.unwrap();
    }
    let due = stores.invoices.due(None, at(990), 100).await.unwrap();
    let expected: Vec<_> = invoices
        .iter()
        .rev()
        .take(20)
        .map(|invoice| invoice.id)
        .collect();
    assert_eq!(due.iter().map(|due| due.id).collect::<Vec<_>>(), expected);
    assert_eq!(due[0].wake_at, at(971));
    assert_eq!(
        stores.invoices.due(None, at(990), 3).await.unwrap(),
        due[..3]
    );

    let mine = ShardId::of(expected[7]);
    let of_mine = stores
        .invoices
        .due(Some(&[mine]), at(990), 100)
        .await
        .unwrap();
    assert!(of_mine.iter().any(|due| due.id == expected[7]));
    assert!(of_mine.iter().all(|due| ShardId::of(due.id) == mine));
    let every_shard: Vec<_> = (0..SHARDS).map(ShardId).collect();
    assert_eq!(
        stores
            .invoices
            .due(Some(&every_shard), at(990), 100)
            .await
            .unwrap(),
        due
    );
    assert_eq!(
        stores.invoices.due(Some(&[]), at(990), 100).await.unwrap(),
        vec![]
    );
}

pub(crate) async fn an_invoice_that_needs_no_waking_is_not_due(stores: &Stores) {
    let asleep = draft(new_organization());
    let woken = waking(draft(new_organization()), at(5));
    stores.invoices.commit(creation(&asleep)).await.unwrap();
    stores.invoices.commit(creation(&woken)).await.unwrap();
    assert_eq!(stores.invoices.due(None, at(4), 10).await.unwrap(), vec![]);
    assert_eq!(stores.invoices.due(None, at(5), 10).await.unwrap().len(), 1);
    let commit = change(&woken, |after| after.delivery.scheduled = None);
    stores.invoices.commit(commit).await.unwrap();
    assert_eq!(
        stores.invoices.due(None, at(1_000_000), 10).await.unwrap(),
        vec![]
    );
}

pub(crate) async fn the_store_answers_a_ping(stores: &Stores) {
    stores.invoices.ping().await.unwrap();
}
