//! The checkout pages of an invoice: when each was there, and that none is left over.

use faktor::domain::ids::EffectId;
use faktor::domain::invoice::effect::EffectKind;
use faktor::domain::invoice::entry::Entry;
use faktor::domain::money::Money;

use super::{Charge, Story, Violations};

/// A checkout page, as the invoice's history tells of it.
pub(super) struct Page<'a> {
    session: &'a str,
    effect: &'a EffectId,
    amount: Money,
    /// The version with which it was noted.
    made: u64,
    /// The version with which it was noted that it is taken down.
    down: Option<u64>,
}

impl Page<'_> {
    /// Whether the effect that made this page and the page itself are those of the charge.
    pub(super) fn is_of(&self, charge: &Charge) -> bool {
        charge.session.as_deref() == Some(self.session) && charge.effect == *self.effect
    }

    /// Whether one of them replaced the other for less, and was noted before the other was down. Who
    /// has both in front of them at that moment can pay both.
    pub(super) fn stood_beside(&self, other: &Self) -> bool {
        let end = |page: &Self| page.down.unwrap_or(u64::MAX);
        let overlap = self.made < end(other) && other.made < end(self);
        overlap && self.session != other.session && self.amount != other.amount
    }
}

/// All pages there ever were, in the order in which they were noted.
pub(super) fn of<'a>(story: &'a Story<'_>) -> Vec<Page<'a>> {
    let expiries = story.effects(|effect| match &effect.kind {
        EffectKind::ExpirePaymentLink { link } => Some(link.clone()),
        _ => None,
    });
    let mut pages: Vec<Page<'_>> = Vec::new();
    for recorded in &story.found.history {
        match &recorded.entry {
            Entry::PaymentLinkCreated { effect, link } => pages.push(Page {
                session: &link.id,
                effect,
                amount: link.amount,
                made: recorded.version,
                down: None,
            }),
            // Down, or paid just before it was taken down.
            Entry::PaymentLinkExpired { effect }
            | Entry::PaymentReceived {
                effect: Some(effect),
                ..
            } => {
                let session = expiries.get(effect).map(String::as_str);
                let mut known = pages.iter_mut();
                if let Some(page) = known.find(|page| Some(page.session) == session) {
                    page.down.get_or_insert(recorded.version);
                }
            }
            _ => {}
        }
    }
    pages
}

pub(super) fn check(story: &Story<'_>, violations: &mut Violations) {
    let link = story.found.snapshot.payment.link.as_deref();
    let offered = link.filter(|link| link.active);
    let offered = offered.map(|link| link.id.as_str());
    for page in &story.found.open_pages {
        if Some(page.as_str()) != offered {
            violations.note(
                "a page that is not needed any more is taken down",
                format_args!("{}: {page}, offered is {offered:?}", story.id),
            );
        }
    }
}
