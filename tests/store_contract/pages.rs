use faktor::clock;
use faktor::domain::ids::InvoiceId;
use faktor::store::{PageRequest, Stores};

use crate::lists::{any, store};
use crate::sample::{at, draft, new_organization};

pub(crate) async fn pages_hold_each_invoice_once_while_others_are_created(stores: &Stores) {
    let organization = new_organization();
    let mut expected = Vec::new();
    for number in 0..25 {
        let mut invoice = draft(organization);
        invoice.created_at = at(number);
        expected.push(store(stores, invoice).await);
    }
    expected.reverse();

    let mut seen = Vec::new();
    let mut starting_after = None;
    loop {
        let page = PageRequest {
            limit: 10,
            starting_after,
        };
        let page = stores
            .invoices
            .list(organization, &any(), &page)
            .await
            .unwrap();
        seen.extend(page.data.iter().map(|invoice| invoice.id));
        // A newer one comes in between: it belongs to no page that follows.
        let mut newer = draft(organization);
        newer.created_at = at(1_000);
        store(stores, newer).await;
        if !page.has_more {
            break;
        }
        starting_after = seen.last().copied();
    }
    assert_eq!(seen, expected);
}

pub(crate) async fn pages_of_invoices_made_at_the_same_moment_hold_each_once(stores: &Stores) {
    let organization = new_organization();
    let mut expected = Vec::new();
    for _ in 0..9 {
        expected.push(store(stores, draft(organization)).await);
    }
    expected.sort();
    expected.reverse();
    let mut seen: Vec<InvoiceId> = Vec::new();
    for has_more in [true, true, false] {
        let page = PageRequest {
            limit: 3,
            starting_after: seen.last().copied(),
        };
        let page = stores
            .invoices
            .list(organization, &any(), &page)
            .await
            .unwrap();
        assert_eq!(page.has_more, has_more);
        seen.extend(page.data.iter().map(|invoice| invoice.id));
    }
    assert_eq!(seen, expected);
}

pub(crate) async fn an_unknown_starting_point_gives_an_empty_page(stores: &Stores) {
    let (organization, other) = (new_organization(), new_organization());
    store(stores, draft(organization)).await;
    let of_another = store(stores, draft(other)).await;
    for unknown in [InvoiceId::new(clock::new_uuid()), of_another] {
        let page = PageRequest {
            limit: 10,
            starting_after: Some(unknown),
        };
        let page = stores
            .invoices
            .list(organization, &any(), &page)
            .await
            .unwrap();
        assert!(page.data.is_empty() && !page.has_more);
    }
}
