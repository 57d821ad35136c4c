//! One message of each kind.

use std::sync::Arc;

use faktor::cluster::wire::{About, Ask, Fault, Held, Hint, News, Question, Reply, RevokedScope};
use faktor::domain::ids::{InvoiceId, OrganizationId, UserId};
use faktor::domain::invoice::Invoice;
use faktor::domain::invoice::change::ContentChange;
use faktor::domain::invoice::command::{Command, IdempotencyKey, Initiator, Request, SendRequest};
use faktor::domain::invoice::decide::{Refusal, Step, step};
use faktor::store::cluster::BootId;
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain_fixture::{content, issuer};

pub(crate) fn boot(number: u128) -> BootId {
    BootId(Uuid::from_u128(
        0x0192_f0c1_a2b3_7c1e_8d5f_6a7b_8c9d_0000 + number,
    ))
}

pub(crate) fn invoice_id() -> InvoiceId {
    InvoiceId::new(boot(100).0)
}

pub(crate) fn organization_id() -> OrganizationId {
    OrganizationId::new(boot(200).0)
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00.123456Z".parse().unwrap()
}

fn request(command: Command) -> Request {
    Request {
        command,
        by: Initiator::User(UserId::new(boot(300).0)),
        key: Some(IdempotencyKey {
            key: "order-7".to_owned(),
            fingerprint: 0xfedc_ba98_7654_3210,
            keep: true,
            unsure_for_ms: None,
        }),
        expected_version: Some(1),
        request_id: "0192f0c1a2b37c1e8d5f6a7b8c9d0e1f".to_owned(),
    }
}

fn create(organization: OrganizationId) -> Request {
    Request {
        expected_version: None,
        ..request(Command::Create {
            organization,
            content: Arc::new(content()),
            page_secret: "a-secret-of-the-page".to_owned(),
        })
    }
}

pub(crate) fn draft(id: InvoiceId, organization: OrganizationId) -> Box<Invoice> {
    let Ok(Step::Changed { invoice, .. }) = step(None, id, &create(organization), now()) else {
        panic!("not created");
    };
    invoice
}

/// A draft whose send was asked for.
pub(crate) fn invoice() -> Arc<Invoice> {
    let draft = draft(invoice_id(), organization_id());
    let send = Request {
        key: None,
        ..request(send())
    };
    let Ok(Step::Changed { invoice, .. }) = step(Some(&draft), invoice_id(), &send, now()) else {
        panic!("not sent");
    };
    Arc::from(invoice)
}

fn send() -> Command {
    Command::Send {
        issuer: Box::new(issuer()),
        request: SendRequest {
            to: Some(vec!["ap@ada.example".to_owned()]),
            cc: Vec::new(),
            message: Some("Grüße".to_owned()),
            at: None,
        },
    }
}

fn ask(what: Question) -> Ask {
    Ask {
        from: boot(1),
        patience_ms: 3_000,
        hops: 1,
        relay: false,
        what,
    }
}

fn execute(organization: Option<OrganizationId>, request: Request) -> Ask {
    ask(Question::Execute {
        id: invoice_id(),
        organization,
        request: Box::new(request),
        represented: false,
    })
}

fn change() -> Command {
    Command::Change {
        change: Box::new(ContentChange {
            memo: Some(Some("As agreed".to_owned())),
            ship_to: Some(None),
            due_in_days: Some(30),
            discounts: Some(Vec::new()),
            ..ContentChange::default()
        }),
    }
}

/// What version 2 brought, and no node of version 1 is asked.
pub(crate) fn changes() -> Vec<(&'static str, Ask)> {
    vec![("execute_change", represented(change()))]
}

/// What version 2 brought, and a node of version 1 reads as what it knows.
pub(crate) fn asks_of_version_2() -> Vec<(&'static str, Ask)> {
    let read = Question::Read {
        id: invoice_id(),
        known: None,
        represented_to: Some(organization_id()),
    };
    let mut again = execute(Some(organization_id()), request(send()));
    if let Question::Execute { request, .. } = &mut again.what
        && let Some(key) = &mut request.key
    {
        key.unsure_for_ms = Some(4_250);
    }
    vec![
        ("execute_again", again),
        ("execute_represented", represented(send())),
        ("read_represented", ask(read)),
    ]
}

fn represented(command: Command) -> Ask {
    ask(Question::Execute {
        id: invoice_id(),
        organization: Some(organization_id()),
        request: Box::new(request(command)),
        represented: true,
    })
}

/// Answers that only who speaks version 2 asks for.
pub(crate) fn replies_of_version_2() -> Vec<(&'static str, Reply)> {
    let represented = Reply::Represented {
        version: 7,
        body: br#"{"object":"invoice"}"#.as_slice().into(),
        replayed: false,
    };
    vec![("represented", represented)]
}

pub(crate) fn asks() -> Vec<(&'static str, Ask)> {
    let shards = vec![
        Held { shard: 0, epoch: 2 },
        Held {
            shard: 255,
            epoch: 70_000,
        },
    ];
    vec![
        (
            "execute_create",
            execute(Some(organization_id()), create(organization_id())),
        ),
        ("execute_send", execute(None, request(send()))),
        (
            "read",
            ask(Question::Read {
                id: invoice_id(),
                known: None,
                represented_to: None,
            }),
        ),
        (
            "read_known",
            ask(Question::Read {
                id: invoice_id(),
                known: Some(3),
                represented_to: None,
            }),
        ),
        ("take", ask(Question::Take { shards })),
        ("about", ask(Question::About)),
    ]
}

pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    let hint = Some(Hint {
        owner: boot(2),
        epoch: 9,
    });
    let about = About {
        live_invoices: 10_000,
        waiting: 3,
        effects_running: 2,
        renewed_ms_ago: 1_500,
    };
    vec![
        (
            "done",
            Reply::Done {
                invoice: invoice(),
                replayed: false,
            },
        ),
        ("found", Reply::Found { invoice: invoice() }),
        ("unchanged", Reply::Unchanged),
        (
            "refused",
            Reply::Refused(Refusal::VersionMismatch { current: 7 }),
        ),
        (
            "refused_invalid",
            Reply::Refused(Refusal::invalid(
                "lines[2].unit_price",
                "too_long",
                "too many digits",
            )),
        ),
        ("not_owner", Reply::NotOwner { hint }),
        ("not_owner_nobody", Reply::NotOwner { hint: None }),
        ("busy", Reply::Busy),
        ("crashed", Reply::Crashed),
        (
            "failed",
            Reply::Failed(Fault::TooLarge {
                bytes: 9_000_000,
                allowed: 8_388_608,
            }),
        ),
        ("taken", Reply::Taken),
        ("about_answer", Reply::About(about)),
        ("unreadable", Reply::Unreadable),
    ]
}

pub(crate) fn news() -> Vec<(&'static str, News)> {
    vec![
        (
            "moved",
            News::Moved {
                owner: boot(3),
                shards: vec![Held {
                    shard: 17,
                    epoch: 5,
                }],
            },
        ),
        ("published", News::Published),
        (
            "revoked",
            News::Revoked {
                scopes: vec![
                    RevokedScope::User(UserId::new(boot(300).0)),
                    RevokedScope::Organization(organization_id()),
                    RevokedScope::ApiKeys,
                ],
            },
        ),
        (
            "watch",
            News::Watch {
                from: boot(1),
                ids: vec![invoice_id()],
                for_ms: 10_000,
            },
        ),
        (
            "version",
            News::Version {
                id: invoice_id(),
                version: 12,
            },
        ),
        ("look", News::Look),
    ]
}

pub(crate) fn news_of_version_3() -> Vec<(&'static str, News)> {
    let listen = News::Listen {
        from: boot(1),
        for_ms: 10_000,
    };
    vec![("listen", listen)]
}
