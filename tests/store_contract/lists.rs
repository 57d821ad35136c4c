use faktor::clock;
use faktor::domain::ids::{CustomerId, InvoiceId, OrganizationId};
use faktor::domain::invoice::{Invoice, State, Status};
use faktor::store::{InvoiceFilter, PageRequest, Stores};
use jiff::civil::date;

use crate::sample::{
    at, change, creation, currency, draft, for_customer, issued, new_organization, noon,
};

const ALL: PageRequest<InvoiceId> = PageRequest {
    limit: 100,
    starting_after: None,
};

pub(crate) async fn store(stores: &Stores, invoice: Invoice) -> InvoiceId {
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    invoice.id
}

async fn found(
    stores: &Stores,
    organization: OrganizationId,
    filter: &InvoiceFilter,
) -> Vec<InvoiceId> {
    let page = stores
        .invoices
        .list(organization, filter, &ALL)
        .await
        .unwrap();
    assert!(!page.has_more);
    let mut ids: Vec<_> = page.data.iter().map(|invoice| invoice.id).collect();
    ids.sort();
    ids
}

pub(crate) fn any() -> InvoiceFilter {
    InvoiceFilter::default()
}

/// A plain draft, and an open invoice that differs in everything a filter asks for.
async fn a_draft_and_an_open_one(
    stores: &Stores,
    organization: OrganizationId,
    customer: CustomerId,
) -> (InvoiceId, InvoiceId) {
    let plain = store(stores, draft(organization)).await;
    let mut open = for_customer(draft(organization), customer);
    open.content_mut().currency = currency("JPY");
    open.content_mut().bill_to.name = "Grete Müller".to_owned();
    open.content_mut().reference = Some("Los 4711".to_owned());
    open.created_at = noon(date(2026, 3, 5));
    open.state = State::Open {
        issued: issued("2026-0042", date(2026, 3, 6), true),
    };
    (plain, store(stores, open).await)
}

pub(crate) async fn each_filter_finds_what_it_names_and_nothing_else(stores: &Stores) {
    let organization = new_organization();
    let customer = CustomerId::new(clock::new_uuid());
    let (plain, open) = a_draft_and_an_open_one(stores, organization, customer).await;
    let mut both = vec![plain, open];
    both.sort();
    assert_eq!(found(stores, organization, &any()).await, both);

    let text = |text: &str| Some(text.to_owned());
    for filter in [
        InvoiceFilter {
            status: Some(Status::Open),
            ..any()
        },
        InvoiceFilter {
            customer: Some(customer),
            ..any()
        },
        InvoiceFilter {
            number: text("2026-0042"),
            ..any()
        },
        InvoiceFilter {
            currency: Some(currency("JPY")),
            ..any()
        },
        InvoiceFilter {
            overdue: Some(true),
            ..any()
        },
        InvoiceFilter {
            issued_from: Some(date(2026, 1, 1)),
            ..any()
        },
        InvoiceFilter {
            issued_to: Some(date(2026, 12, 31)),
            ..any()
        },
        InvoiceFilter {
            created_from: Some(date(2026, 3, 5)),
            ..any()
        },
        InvoiceFilter {
            q: text("0042"),
            ..any()
        },
        InvoiceFilter {
            q: text("grete"),
            ..any()
        },
        InvoiceFilter {
            q: text("los 47"),
            ..any()
        },
    ] {
        assert_eq!(
            found(stores, organization, &filter).await,
            [open],
            "{filter:?}"
        );
    }
    for filter in [
        InvoiceFilter {
            status: Some(Status::Draft),
            ..any()
        },
        InvoiceFilter {
            currency: Some(currency("EUR")),
            ..any()
        },
        InvoiceFilter {
            overdue: Some(false),
            ..any()
        },
        InvoiceFilter {
            created_to: Some(date(2026, 3, 4)),
            ..any()
        },
        InvoiceFilter {
            q: text("ada werke"),
            ..any()
        },
    ] {
        assert_eq!(
            found(stores, organization, &filter).await,
            [plain],
            "{filter:?}"
        );
    }
    for filter in [
        InvoiceFilter {
            status: Some(Status::Paid),
            ..any()
        },
        InvoiceFilter {
            number: text("2026-004"),
            ..any()
        },
        InvoiceFilter {
            customer: Some(CustomerId::new(clock::new_uuid())),
            ..any()
        },
        InvoiceFilter {
            q: text("nobody"),
            ..any()
        },
    ] {
        assert_eq!(found(stores, organization, &filter).await, [], "{filter:?}");
    }
    let everything = InvoiceFilter {
        q: text("PO-7"),
        ..any()
    };
    assert_eq!(found(stores, organization, &everything).await, both);
}

pub(crate) async fn filters_combine(stores: &Stores) {
    let organization = new_organization();
    let customer = CustomerId::new(clock::new_uuid());
    let (_, open) = a_draft_and_an_open_one(stores, organization, customer).await;
    let all_at_once = InvoiceFilter {
        status: Some(Status::Open),
        customer: Some(customer),
        number: Some("2026-0042".to_owned()),
        currency: Some(currency("JPY")),
        overdue: Some(true),
        issued_from: Some(date(2026, 3, 6)),
        issued_to: Some(date(2026, 3, 6)),
        created_from: Some(date(2026, 3, 5)),
        created_to: Some(date(2026, 3, 5)),
        q: Some("MÜLLER".to_owned()),
    };
    assert_eq!(found(stores, organization, &all_at_once).await, [open]);
    let contradiction = InvoiceFilter {
        status: Some(Status::Draft),
        ..all_at_once
    };
    assert_eq!(found(stores, organization, &contradiction).await, []);
}

pub(crate) async fn date_bounds_are_inclusive(stores: &Stores) {
    let organization = new_organization();
    let day = date(2026, 3, 5);
    let midnight = day
        .at(0, 0, 0, 0)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .unwrap()
        .timestamp();
    let mut ids = Vec::new();
    for (created_at, issued_on) in [
        (
            midnight - jiff::SignedDuration::from_micros(1),
            date(2026, 3, 4),
        ),
        (midnight, day),
        (
            midnight + jiff::SignedDuration::from_hours(24) - jiff::SignedDuration::from_micros(1),
            day,
        ),
        (
            midnight + jiff::SignedDuration::from_hours(24),
            date(2026, 3, 6),
        ),
    ] {
        let mut invoice = draft(organization);
        invoice.created_at = created_at;
        let number = format!("2026-{:04}", ids.len());
        invoice.state = State::Open {
            issued: issued(&number, issued_on, false),
        };
        ids.push(store(stores, invoice).await);
    }
    let mut on_the_day = ids[1..3].to_vec();
    on_the_day.sort();
    let created = InvoiceFilter {
        created_from: Some(day),
        created_to: Some(day),
        ..any()
    };
    assert_eq!(found(stores, organization, &created).await, on_the_day);
    let issued = InvoiceFilter {
        issued_from: Some(day),
        issued_to: Some(day),
        ..any()
    };
    assert_eq!(found(stores, organization, &issued).await, on_the_day);
    let until_the_end = InvoiceFilter {
        created_to: Some(jiff::civil::Date::MAX),
        ..InvoiceFilter::default()
    };
    assert_eq!(found(stores, organization, &until_the_end).await.len(), 4);
}

pub(crate) async fn a_search_ignores_case_beyond_ascii_and_takes_wildcards_literally(
    stores: &Stores,
) {
    let organization = new_organization();
    let mut named = draft(organization);
    named.content_mut().bill_to.name = "ÉCLAIR & ÄPFEL 50%".to_owned();
    let named = store(stores, named).await;
    store(stores, draft(organization)).await;
    for part in ["éclair", "Äpfel", "äPFEL 50%", "50%"] {
        let filter = InvoiceFilter {
            q: Some(part.to_owned()),
            ..any()
        };
        assert_eq!(
            found(stores, organization, &filter).await,
            [named],
            "{part}"
        );
    }
    for part in ["_clair", "%50", "a%e", "\\"] {
        let filter = InvoiceFilter {
            q: Some(part.to_owned()),
            ..any()
        };
        assert_eq!(found(stores, organization, &filter).await, [], "{part}");
    }
}

pub(crate) async fn a_changed_invoice_is_found_by_its_new_values_and_not_by_its_old_ones(
    stores: &Stores,
) {
    let organization = new_organization();
    let (old, new) = (
        CustomerId::new(clock::new_uuid()),
        CustomerId::new(clock::new_uuid()),
    );
    let first = for_customer(draft(organization), old);
    stores.invoices.commit(creation(&first)).await.unwrap();
    let second = change(&first, |after| {
        after.content_mut().customer = Some(new);
        after.content_mut().currency = currency("JPY");
        after.content_mut().bill_to.name = "Grete".to_owned();
        let issued = issued("2026-0042", date(2026, 3, 6), true);
        after.state = State::Open { issued };
    });
    stores.invoices.commit(second.clone()).await.unwrap();
    // Changes nothing that is filtered by.
    let third = change(&second.invoice, |after| after.first_viewed_at = Some(at(9)));
    stores.invoices.commit(third.clone()).await.unwrap();

    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (
            InvoiceFilter {
                status: Some(Status::Draft),
                ..any()
            },
            false,
        ),
        (
            InvoiceFilter {
                status: Some(Status::Open),
                ..any()
            },
            true,
        ),
        (
            InvoiceFilter {
                customer: Some(old),
                ..any()
            },
            false,
        ),
        (
            InvoiceFilter {
                customer: Some(new),
                ..any()
            },
            true,
        ),
        (
            InvoiceFilter {
                currency: Some(currency("EUR")),
                ..any()
            },
            false,
        ),
        (
            InvoiceFilter {
                currency: Some(currency("JPY")),
                ..any()
            },
            true,
        ),
        (
            InvoiceFilter {
                number: text("2026-0042"),
                ..any()
            },
            true,
        ),
        (
            InvoiceFilter {
                overdue: Some(false),
                ..any()
            },
            false,
        ),
        (
            InvoiceFilter {
                overdue: Some(true),
                ..any()
            },
            true,
        ),
        (
            InvoiceFilter {
                issued_from: Some(date(2026, 3, 6)),
                ..any()
            },
            true,
        ),
        (
            InvoiceFilter {
                q: text("ada werke"),
                ..any()
            },
            false,
        ),
        (
            InvoiceFilter {
                q: text("grete"),
                ..any()
            },
            true,
        ),
    ] {
        let ids = found(stores, organization, &filter).await;
        assert_eq!(ids == [first.id], expected, "{filter:?}");
    }
    let last = change(&third.invoice, |after| {
        let issued = issued("2026-0042", date(2026, 3, 6), true);
        after.state = State::Paid {
            issued,
            paid_at: at(10),
        };
    });
    stores.invoices.commit(last).await.unwrap();
    let paid = InvoiceFilter {
        status: Some(Status::Paid),
        overdue: Some(false),
        ..any()
    };
    assert_eq!(found(stores, organization, &paid).await, [first.id]);
}

pub(crate) async fn deleted_drafts_are_not_listed(stores: &Stores) {
    let organization = new_organization();
    let invoice = draft(organization);
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let deletion = change(&invoice, |after| after.state = State::Deleted { at: at(9) });
    stores.invoices.commit(deletion).await.unwrap();
    assert_eq!(found(stores, organization, &any()).await, []);
    let asked_for = InvoiceFilter {
        status: Some(Status::Deleted),
        ..any()
    };
    assert_eq!(found(stores, organization, &asked_for).await, []);
    assert!(stores.invoices.load(invoice.id).await.unwrap().is_some());
}

pub(crate) async fn another_organizations_invoices_are_never_listed(stores: &Stores) {
    let (mine, other) = (new_organization(), new_organization());
    let my_own = store(stores, draft(mine)).await;
    store(stores, draft(other)).await;
    assert_eq!(found(stores, mine, &any()).await, [my_own]);
    assert_eq!(found(stores, new_organization(), &any()).await, []);
}
