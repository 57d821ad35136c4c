use faktor::clock;
use faktor::domain::ids::InvoiceId;
use faktor::store::{Commit, Epoch, StoreError, Stores};

use crate::sample::{change, creation, draft, new_organization};

fn by(epoch: u64, commit: Commit) -> Commit {
    Commit {
        epoch: Epoch(epoch),
        ..commit
    }
}

pub(crate) async fn a_claimed_invoice_is_as_it_was_and_an_unknown_one_is_nothing(stores: &Stores) {
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    for _ in 0..2 {
        let claimed = stores.invoices.claim(invoice.id, Epoch(2)).await;
        assert_eq!(claimed, Ok(Some(invoice.clone())));
    }
    let unknown = InvoiceId::new(clock::new_uuid());
    assert_eq!(stores.invoices.claim(unknown, Epoch(2)).await, Ok(None));
}

pub(crate) async fn after_a_claim_older_owners_neither_write_nor_claim(stores: &Stores) {
    let invoice = draft(new_organization());
    stores
        .invoices
        .commit(by(4, creation(&invoice)))
        .await
        .unwrap();
    stores.invoices.claim(invoice.id, Epoch(6)).await.unwrap();
    let on_its_way = change(&invoice, |after| after.next_effect = 11);
    for epoch in [4, 5] {
        let refusal = stores.invoices.commit(by(epoch, on_its_way.clone())).await;
        assert_eq!(refusal, Err(StoreError::NotOwner));
        let refusal = stores.invoices.claim(invoice.id, Epoch(epoch)).await;
        assert_eq!(refusal, Err(StoreError::NotOwner));
    }
    let kept = stores.invoices.load(invoice.id).await;
    assert_eq!(kept, Ok(Some(invoice)));
    assert_eq!(stores.invoices.commit(by(6, on_its_way)).await, Ok(()));
}

/// Whatever the old owner got an answer for is in what the new one loads.
pub(crate) async fn a_claim_returns_what_an_older_owner_wrote_before_it(stores: &Stores) {
    for round in 0..30_u32 {
        let invoice = draft(new_organization());
        stores.invoices.commit(creation(&invoice)).await.unwrap();
        let write = change(&invoice, |after| after.next_effect = round + 5);
        let (written, claimed) = tokio::join!(
            stores.invoices.commit(by(1, write.clone())),
            stores.invoices.claim(invoice.id, Epoch(2)),
        );
        let claimed = claimed.unwrap().unwrap();
        match written {
            Ok(()) => assert_eq!(claimed, *write.invoice),
            Err(refusal) => {
                assert_eq!(refusal, StoreError::NotOwner);
                assert_eq!(claimed, invoice);
            }
        }
    }
}

/// The two, and commits, that happen at once end with one owner that can write.
pub(crate) async fn of_two_claims_the_newer_one_wins(stores: &Stores) {
    for _ in 0..30 {
        let invoice = draft(new_organization());
        stores.invoices.commit(creation(&invoice)).await.unwrap();
        let (older, newer) = tokio::join!(
            stores.invoices.claim(invoice.id, Epoch(2)),
            stores.invoices.claim(invoice.id, Epoch(3)),
        );
        assert!(matches!(older, Ok(Some(_)) | Err(StoreError::NotOwner)));
        assert_eq!(newer, Ok(Some(invoice.clone())));
        let write = change(&invoice, |_| {});
        let refusal = stores.invoices.commit(by(2, write.clone())).await;
        assert_eq!(refusal, Err(StoreError::NotOwner));
        assert_eq!(stores.invoices.commit(by(3, write)).await, Ok(()));
    }
}
