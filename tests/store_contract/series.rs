use std::collections::{BTreeSet, HashMap};

use faktor::clock;
use faktor::domain::ids::{InvoiceId, OrganizationId};
use faktor::domain::invoice::command::AllocatedNumber;
use faktor::domain::invoice::{Invoice, State};
use faktor::store::{StoreError, Stores};
use futures_util::future::join_all;
use jiff::civil::date;

use crate::sample::{creation, draft, issued, new_organization, organization};

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

/// An invoice that comes with a number of its own.
fn bringing(organization: OrganizationId, number: &str) -> Invoice {
    let mut invoice = draft(organization);
    invoice.state = State::Open {
        issued: issued(number, date(2026, 3, 1), false),
    };
    invoice
}

pub(crate) async fn a_number_that_an_invoice_brings_along_stands_once(stores: &Stores) {
    let organization = founded(stores, "{YYYY}-{0000}").await;
    let given = stores
        .series
        .allocate(organization, new_invoice(), date(2026, 3, 1))
        .await
        .unwrap();
    let first = bringing(organization, "A-17");
    stores.invoices.commit(creation(&first)).await.unwrap();
    for number in ["A-17", &given.number] {
        let second = bringing(organization, number);
        let refusal = stores.invoices.commit(creation(&second)).await;
        assert_eq!(refusal, Err(StoreError::Taken { field: "number" }));
        assert_eq!(stores.invoices.load(second.id).await.unwrap(), None);
        let history = stores.invoices.history(second.id, 0, 10).await.unwrap();
        assert_eq!(history, []);
    }
    let elsewhere = bringing(founded(stores, "{0}").await, "A-17");
    stores.invoices.commit(creation(&elsewhere)).await.unwrap();
    let another = bringing(organization, "a-17");
    stores.invoices.commit(creation(&another)).await.unwrap();
}

pub(crate) async fn an_invoice_that_brings_a_number_is_made_once(stores: &Stores) {
    let organization = founded(stores, "{YYYY}-{0000}").await;
    let invoice = bringing(organization, "A-17");
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let again = stores.invoices.commit(creation(&invoice)).await;
    assert_eq!(
        again,
        Err(StoreError::Conflict),
        "not that its number is taken"
    );
    assert_eq!(
        stores.invoices.load(invoice.id).await.unwrap(),
        Some(invoice)
    );
}

pub(crate) async fn of_many_invoices_that_bring_the_same_number_exactly_one_is_made(
    stores: &Stores,
) {
    let organization = founded(stores, "{YYYY}-{0000}").await;
    let invoices: Vec<_> = (0..32).map(|_| bringing(organization, "A-17")).collect();
    // Drafts are written between them.
    let neighbours: Vec<_> = (0..32).map(|_| draft(organization)).collect();
    let commits = invoices.iter().zip(&neighbours).map(async |(one, other)| {
        let both = (
            stores.invoices.commit(creation(one)),
            stores.invoices.commit(creation(other)),
        );
        futures_util::future::join(both.0, both.1).await
    });
    let mut made = 0;
    for (one, other) in join_all(commits).await {
        assert_eq!(other, Ok(()));
        match one {
            Ok(()) => made += 1,
            refusal => assert_eq!(refusal, Err(StoreError::Taken { field: "number" })),
        }
    }
    assert_eq!(made, 1);
}

pub(crate) async fn a_series_steps_over_numbers_that_invoices_brought_along(stores: &Stores) {
    let organization = founded(stores, "{YYYY}-{0000}").await;
    for number in ["2026-0001", "2026-0003", "2026-0004"] {
        let invoice = bringing(organization, number);
        stores.invoices.commit(creation(&invoice)).await.unwrap();
    }
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let allocated = stores
            .series
            .allocate(organization, new_invoice(), date(2026, 3, 1))
            .await
            .unwrap();
        numbers.push(allocated.number);
    }
    assert_eq!(numbers, ["2026-0002", "2026-0005", "2026-0006"]);
}

pub(crate) async fn a_long_run_of_taken_numbers_does_not_stop_a_series(stores: &Stores) {
    const TAKEN: usize = 2_345;
    let organization = founded(stores, "{0}").await;
    let commits = (1..=TAKEN).map(|number| {
        let invoice = bringing(organization, &number.to_string());
        stores.invoices.commit(creation(&invoice))
    });
    assert!(join_all(commits).await.iter().all(Result::is_ok));
    for number in TAKEN + 1..TAKEN + 3 {
        let allocated = stores
            .series
            .allocate(organization, new_invoice(), date(2026, 3, 1))
            .await
            .unwrap();
        assert_eq!(allocated.number, number.to_string());
    }
}

pub(crate) async fn a_number_is_reserved_for_one_invoice_however_often_it_asks(stores: &Stores) {
    let organization = founded(stores, "{YYYY}-{0000}").await;
    let number = |text: &str| AllocatedNumber {
        number: text.to_owned(),
        issued_on: date(2026, 3, 1),
    };
    let taken = Err(StoreError::Taken { field: "number" });
    let (one, two) = (new_invoice(), new_invoice());
    let reserve = async |invoice, text| {
        let series = &stores.series;
        series.reserve(organization, invoice, &number(text)).await
    };
    assert_eq!(reserve(one, "2026-0001").await, Ok(()));
    assert_eq!(reserve(one, "2026-0001").await, Ok(()));
    assert_eq!(reserve(two, "2026-0001").await, taken);
    assert_eq!(reserve(one, "2026-0009").await, taken);
    let given = stores
        .series
        .allocate(organization, two, date(2026, 3, 1))
        .await;
    assert_eq!(given, Ok(number("2026-0002")));
}
