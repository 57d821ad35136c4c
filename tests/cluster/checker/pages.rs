//! The checkout pages of an invoice: when each was there, and that none is left over.

use faktor::domain::ids::EffectId;
use faktor::domain::invoice::effect::EffectKind;
use faktor::domain::invoice::entry::Entry;

use super::{Charge, Story, Violations};

/// A checkout page, as the invoice's history tells of it.
pub(super) struct Page<'a> {
    session: &'a str,
    effect: &'a EffectId,
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

    /// Not so one that came when it was not wanted any more: nobody got to know of it.
    fn was_shown(&self, story: &Story<'_>) -> bool {
        let then = story.at(self.made);
        let link = then.and_then(|invoice| invoice.payment.link.as_deref());
        link.is_some_and(|link| link.active && link.id == self.session)
    }

    /// Whether it was noted before the other, earlier one was down: who has both in front of them can
    /// pay both.
    fn stood_beside(&self, earlier: &Self) -> bool {
        earlier.down.is_none_or(|down| self.made < down)
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
    let mut shown = of(story);
    shown.retain(|page| page.was_shown(story));
    for two in shown.windows(2) {
        if two[1].stood_beside(&two[0]) {
            violations.note(
                "a page is made when the one before it is down",
                format_args!("{}: {} beside {}", story.id, two[1].session, two[0].session),
            );
        }
    }
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
