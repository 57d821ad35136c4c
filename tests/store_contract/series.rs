use std::collections::{BTreeSet, HashMap};

use faktor::clock;
use faktor::domain::ids::{InvoiceId, OrganizationId};
use faktor::store::{StoreError, Stores};
use futures_util::future::join_all;
use jiff::civil::date;

use crate::sample::{new_organization, organization};

async fn founded(stores: &Stores, pattern: &str) -> OrganizationId {
    let mut organization = organization(new_organization());
    organization.number_pattern = pattern.to_owned();
    stores
        .directory
        .insert_organization(&organization)
        .await
        .unwrap();
    organization.id
}

async fn change_pattern(stores: &Stores, id: OrganizationId, pattern: &str) {
    let mut organization = stores.directory.organization(id).await.unwrap().unwrap();
    organization.version += 1;
    organization.number_pattern = pattern.to_owned();
    stores
        .directory
        .update_organization(&organization)
        .await
        .unwrap();
}

fn new_invoice() -> InvoiceId {
    InvoiceId::new(clock::new_uuid())
}

pub(crate) async fn numbers_have_no_gap_under_parallel_allocations_with_repeats(stores: &Stores) {
    let organization = founded(stores, "{YYYY}-{0000}").await;
    let invoices: Vec<_> = (0..64).map(|_| new_invoice()).collect();
    // Each asks three times, all at once, on days that are out of order.
    let calls = invoices
        .iter()
        .cycle()
        .take(3 * invoices.len())
        .enumerate()
        .map(|(call, invoice)| async move {
            let today = date(2026, 3, 1 + i8::try_from(call % 7).unwrap());
            let allocated = stores
                .series
                .allocate(organization, *invoice, today)
                .await
                .unwrap();
            (*invoice, allocated)
        });
    let mut by_invoice = HashMap::new();
    for (invoice, allocated) in join_all(calls).await {
        let first = by_invoice
            .entry(invoice)
            .or_insert_with(|| allocated.clone());
        assert_eq!(*first, allocated, "a repeat gives the same number and date");
    }
    let numbers: BTreeSet<_> = by_invoice.values().map(|it| it.number.clone()).collect();
    let expected: BTreeSet<_> = (1..=64)
        .map(|position| format!("2026-{position:04}"))
        .collect();
    assert_eq!(numbers, expected);
    let mut in_order: Vec<_> = by_invoice.into_values().collect();
    in_order.sort_by(|a, b| a.number.cmp(&b.number));
    assert!(in_order.is_sorted_by_key(|allocated| allocated.issued_on));
}

pub(crate) async fn an_invoice_keeps_its_number_in_a_later_year(stores: &Stores) {
    let organization = founded(stores, "{YYYY}-{0000}").await;
    let invoice = new_invoice();
    let first = stores
        .series
        .allocate(organization, invoice, date(2026, 12, 31))
        .await
        .unwrap();
    change_pattern(stores, organization, "NEW-{0}").await;
    let again = stores
        .series
        .allocate(organization, invoice, date(2027, 1, 1))
        .await
        .unwrap();
    assert_eq!(again, first);
}

pub(crate) async fn the_issue_date_never_goes_back(stores: &Stores) {
    let organization = founded(stores, "{YYYY}-{0000}").await;
    let mut dates = Vec::new();
    for day in [5, 3, 9, 1] {
        let today = date(2026, 3, day);
        dates.push(
            stores
                .series
                .allocate(organization, new_invoice(), today)
                .await
                .unwrap(),
        );
    }
    let days: Vec<_> = dates
        .iter()
        .map(|allocated| allocated.issued_on.day())
        .collect();
    assert_eq!(days, [5, 5, 9, 9]);
}

pub(crate) async fn each_year_begins_at_one(stores: &Stores) {
    let organization = founded(stores, "{YYYY}-{0000}").await;
    let mut numbers = Vec::new();
    for today in [date(2026, 12, 30), date(2026, 12, 31), date(2027, 1, 1)] {
        let allocated = stores
            .series
            .allocate(organization, new_invoice(), today)
            .await
            .unwrap();
        numbers.push(allocated.number);
    }
    assert_eq!(numbers, ["2026-0001", "2026-0002", "2027-0001"]);
}

pub(crate) async fn organizations_count_by_themselves(stores: &Stores) {
    let today = date(2026, 3, 1);
    for _ in 0..2 {
        let organization = founded(stores, "{YYYY}-{0000}").await;
        let first = stores
            .series
            .allocate(organization, new_invoice(), today)
            .await
            .unwrap();
        assert_eq!(first.number, "2026-0001");
    }
}

pub(crate) async fn a_number_that_another_pattern_wrote_is_passed_over(stores: &Stores) {
    let organization = founded(stores, "A{0}").await;
    let today = date(2026, 3, 1);
    for _ in 0..12 {
        stores
            .series
            .allocate(organization, new_invoice(), today)
            .await
            .unwrap();
    }
    // A1, …, A12 are taken; this one would begin with A11 and A12.
    change_pattern(stores, organization, "A1{0}").await;
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let allocated = stores
            .series
            .allocate(organization, new_invoice(), today)
            .await
            .unwrap();
        numbers.push(allocated.number);
    }
    assert_eq!(numbers, ["A13", "A14"]);
}

pub(crate) async fn an_organization_that_is_not_there_gets_no_number(stores: &Stores) {
    let today = date(2026, 3, 1);
    let refusal = stores
        .series
        .allocate(new_organization(), new_invoice(), today)
        .await;
    assert!(
        matches!(refusal, Err(StoreError::Corrupt { .. })),
        "{refusal:?}"
    );
}
