//! The invoice's state machine from outside: what every command comes to in every state, and what
//! holds whatever is asked of it, in whatever order.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

#[path = "domain_state_machine/changes.rs"]
mod changes;
#[path = "domain_state_machine/commands.rs"]
mod commands;
mod domain_fixture;
#[path = "domain_state_machine/pages.rs"]
mod pages;
#[path = "domain_state_machine/paying.rs"]
mod paying;
#[path = "domain_state_machine/requests.rs"]
mod requests;
#[path = "domain_state_machine/sending.rs"]
mod sending;
#[path = "domain_state_machine/story.rs"]
mod story;
#[path = "domain_state_machine/table.rs"]
mod table;

use commands::{any_request, id, now};
use domain_fixture::{Random, cases};
use faktor::domain::invoice::decide::{Refusal, Step, step};
use faktor::domain::invoice::entry::{Entry, Recorded};
use faktor::domain::invoice::event::{KINDS, kind_of};
use faktor::domain::invoice::evolve::replay;
use faktor::domain::invoice::{Invoice, Status};
use jiff::SignedDuration;

/// Where a status may lead.
fn legal(from: Status, to: Status) -> bool {
    use Status::{Deleted, Draft, Finalizing, Open, Paid, Uncollectible, Void};
    from == to
        || matches!(
            (from, to),
            (Draft, Finalizing | Deleted)
                | (Finalizing, Open | Paid)
                | (Open, Paid | Void | Uncollectible)
                | (Uncollectible, Paid | Void)
        )
}

fn assert_legal_change(before: Option<&Invoice>, after: &Invoice, recorded: &[Recorded]) {
    let Some(before) = before else {
        assert!(matches!(recorded[0].entry, Entry::Created { .. }));
        return;
    };
    assert!(
        legal(before.status(), after.status()),
        "{:?} → {:?}",
        before.status(),
        after.status()
    );
    assert_eq!(before.id, after.id);
    if let Some(issued) = before.issued() {
        let after_issued = after.issued().unwrap();
        assert_eq!(issued.number, after_issued.number);
        assert_eq!(
            (issued.issued_on, issued.due_on),
            (after_issued.issued_on, after_issued.due_on)
        );
        assert_eq!(
            before.content, after.content,
            "issued content never changes"
        );
        assert_eq!(
            before.totals, after.totals,
            "totals never change after finalizing"
        );
    }
    let received = &after.payment.received[..before.payment.received.len()];
    let amounts = |payments: &[faktor::domain::invoice::Payment]| -> Vec<i64> {
        payments
            .iter()
            .map(|payment| payment.amount.minor)
            .collect()
    };
    assert_eq!(
        amounts(received),
        amounts(&before.payment.received),
        "money is never lost"
    );
    assert!(after.next_effect >= before.next_effect);
}

fn assert_consistent(invoice: &Invoice, history: &[Recorded]) {
    assert_eq!(
        invoice.version,
        history.len() as u64,
        "the version counts the entries"
    );
    let mut sequences: Vec<u32> = invoice
        .effects
        .iter()
        .map(|effect| effect.id.sequence)
        .collect();
    sequences.dedup();
    assert_eq!(
        sequences.len(),
        invoice.effects.len(),
        "every effect has a name of its own"
    );
    assert!(
        sequences
            .iter()
            .all(|sequence| *sequence < invoice.next_effect)
    );
    assert!(invoice.due().minor >= 0);
    let charges = invoice.effects.iter().filter(|effect| {
        matches!(
            effect.kind,
            faktor::domain::invoice::effect::EffectKind::Charge { .. }
        )
    });
    assert!(charges.count() <= 1, "never two charges at once");
    if invoice.status() == Status::Open && invoice.totals.total.is_positive() {
        assert!(invoice.due().is_positive(), "an open invoice is not paid");
    }
    let needs_no_money = matches!(invoice.status(), Status::Paid | Status::Void);
    let link_active = invoice
        .payment
        .link
        .as_ref()
        .is_some_and(|link| link.active);
    assert!(
        !(needs_no_money && link_active),
        "no page asks for money that is not due"
    );
    assert!(invoice.requests.len() <= 128 + 16);
}

/// The same things out of their JSON, as the store and the wire give them.
fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let json = serde_json::to_vec(value).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn any_command_in_any_state_gives_a_legal_state_or_a_refusal_and_replay_gives_the_snapshot() {
    let seed = Random::seed();
    let mut reached = std::collections::BTreeMap::<&str, u64>::new();
    for case in 0..cases(1_000) {
        let mut random = Random::new(seed ^ case);
        let mut invoice: Option<Invoice> = None;
        let mut history: Vec<Recorded> = vec![];
        let mut at = now();
        for _ in 0..50 {
            let request = any_request(&mut random, invoice.as_ref(), at);
            assert_eq!(through_json(&request), request);
            match step(invoice.as_ref(), id(), &request, at) {
                Ok(Step::Changed {
                    invoice: after,
                    recorded,
                    events,
                }) => {
                    assert!(!recorded.is_empty());
                    assert_legal_change(invoice.as_ref(), &after, &recorded);
                    let kinds: Vec<_> = recorded
                        .iter()
                        .filter_map(|recorded| kind_of(&recorded.entry))
                        .collect();
                    assert_eq!(events.len(), kinds.len());
                    for (event, kind) in events.iter().zip(kinds) {
                        assert_eq!(event.kind, kind);
                        assert!(KINDS.contains(&kind));
                        assert_eq!(through_json(event), *event);
                    }
                    history.extend(recorded);
                    assert_consistent(&after, &history);
                    *reached.entry(after.status().name()).or_default() += 1;
                    invoice = Some(*after);
                    if request.key.is_some() {
                        let version = history.len() as u64;
                        let again = step(invoice.as_ref(), id(), &request, at);
                        assert_eq!(again, Ok(Step::Replayed { version }));
                    }
                }
                Ok(Step::Unchanged | Step::Replayed { .. }) => {}
                Err(refusal) => {
                    assert_eq!(through_json(&refusal), refusal);
                    if let Refusal::Invalid { problems } = &refusal {
                        assert!(!problems.is_empty());
                    }
                }
            }
            at = at.saturating_add(any_time(&mut random)).unwrap();
        }
        assert_eq!(replay(&history), invoice, "replay of {history:#?}");
        let stored: Vec<Recorded> = history.iter().map(through_json).collect();
        assert_eq!(replay(&stored), invoice);
        assert_eq!(invoice.as_ref().map(through_json), invoice);
    }
    for status in Status::ALL {
        let times = reached.get(status.name()).copied().unwrap_or_default();
        assert!(times > 0, "no case reached {}: {reached:?}", status.name());
    }
}

fn any_time(random: &mut Random) -> SignedDuration {
    match random.below(4) {
        0 => SignedDuration::ZERO,
        1 => SignedDuration::from_millis(i64::try_from(random.below(100)).unwrap()),
        2 => SignedDuration::from_mins(i64::try_from(random.below(90)).unwrap()),
        _ => SignedDuration::from_hours(i64::try_from(random.below(300)).unwrap()),
    }
}
