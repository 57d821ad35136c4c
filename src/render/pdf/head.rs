//! The top of the first page: what this is, who it is from and for, and what is due when.

use super::canvas::{Area, Ink, Style};
use super::flow::{ACCENT, BODY, Flow, INK, LABEL, LEADING, QUIET, SIZE, STRONG};
use super::fonts::Weight;
use super::logo::Logo;
use crate::render::view::{Mark, PartyView};

const TITLE: Style = Style {
    weight: Weight::SemiBold,
    size: 22.0,
    ink: INK,
};
const HEADLINE: Style = Style {
    weight: Weight::SemiBold,
    size: 17.0,
    ink: INK,
};

/// Background and letters of a mark's pill; an open invoice needs none.
const fn pill_colors(mark: Mark) -> Option<(Ink, Ink)> {
    match mark {
        Mark::Open => None,
        Mark::Draft => Some((Ink(0xfc, 0xee, 0xcf), Ink(0x8f, 0x5b, 0x00))),
        Mark::Overdue => Some((Ink(0xfc, 0xe1, 0xe1), Ink(0xa4, 0x1c, 0x1c))),
        Mark::Paid => Some((Ink(0xd6, 0xf3, 0xe0), Ink(0x0a, 0x64, 0x38))),
        Mark::Void | Mark::Uncollectible => Some((Ink(0xe9, 0xeb, 0xf0), Ink(0x4a, 0x52, 0x66))),
    }
}

/// Background and letters of the sandbox's pill.
const SANDBOX: (Ink, Ink) = (Ink(0xec, 0xe6, 0xfd), Ink(0x5b, 0x3b, 0xc4));

/// Draws the head and leaves the pen under it.
pub(super) fn draw(flow: &mut Flow<'_>, logo: Option<&Logo>) {
    title(flow, logo);
    facts(flow);
    parties(flow);
    headline(flow);
}

fn title(flow: &mut Flow<'_>, logo: Option<&Logo>) {
    let (view, left, right, top) = (flow.view, Flow::LEFT, flow.right(), flow.y);
    let words = view.words;
    let name = if view.number.is_some() {
        words.invoice
    } else {
        words.draft_invoice
    };
    flow.put(left, top, TITLE, name);
    let mut x = left + flow.text_width(name, TITLE) + 12.0;
    if let Some(colors) = pill_colors(view.mark) {
        x += flow.pill(x, top + 8.0, &view.mark_label.to_uppercase(), colors) + 6.0;
    }
    if view.sandbox {
        x += flow.pill(x, top + 8.0, "SANDBOX", SANDBOX) + 6.0;
    }
    let room = right - x - 12.0;
    let height = match logo {
        Some(logo) => logo.draw(flow, right, top, room),
        None => issuer_name(flow, right, top, room),
    };
    flow.y += height.max(32.0) + 14.0;
}

/// The issuer's name, where a logo would be.
fn issuer_name(flow: &mut Flow<'_>, right: f32, top: f32, room: f32) -> f32 {
    const NAME: Style = Style {
        weight: Weight::SemiBold,
        size: 13.0,
        ink: INK,
    };
    let lines = flow.wrap(&flow.view.issuer.name, NAME, room);
    let mut y = top + 7.0;
    for line in lines.iter().take(3) {
        flow.put_right(right, y, NAME, line);
        y += 17.0;
    }
    y - top
}

fn facts(flow: &mut Flow<'_>) {
    const GAP: f32 = 18.0;
    let (view, left) = (flow.view, Flow::LEFT);
    let widest = view
        .facts
        .iter()
        .map(|fact| flow.text_width(fact.label, STRONG));
    let value_x = left + widest.fold(70.0, f32::max) + GAP;
    for fact in &view.facts {
        let style = if fact.label == view.words.number {
            STRONG
        } else {
            BODY
        };
        flow.put(left, flow.y, QUIET, fact.label);
        for line in flow.wrap(&fact.value, style, flow.right() - value_x) {
            flow.put(value_x, flow.y, style, &line);
            flow.y += LEADING + 1.0;
        }
    }
    flow.y += 20.0;
}

fn parties(flow: &mut Flow<'_>) {
    const GAP: f32 = 20.0;
    let view = flow.view;
    let words = view.words;
    let mut columns: Vec<(&str, &PartyView)> =
        vec![(words.from, &view.issuer), (words.bill_to, &view.bill_to)];
    columns.extend(view.ship_to.as_ref().map(|party| (words.ship_to, party)));
    // Always room for three, so that every invoice has its addresses in the same places.
    let width = (flow.content_width() - 2.0 * GAP) / 3.0;
    let (top, mut lowest) = (flow.y, flow.y);
    let mut x = Flow::LEFT;
    for (label, party) in columns {
        let mut y = top;
        flow.put(x, y, LABEL, label);
        y += LEADING + 2.0;
        for line in flow.wrap(&party.name, STRONG, width) {
            flow.put(x, y, STRONG, &line);
            y += LEADING;
        }
        let lines = party
            .lines
            .iter()
            .flat_map(|line| flow.wrap(line, BODY, width));
        for line in lines.collect::<Vec<_>>() {
            flow.put(x, y, BODY, &line);
            y += LEADING;
        }
        lowest = lowest.max(y);
        x += width + GAP;
    }
    flow.y = lowest + 24.0;
}

fn headline(flow: &mut Flow<'_>) {
    let (view, left) = (flow.view, Flow::LEFT);
    for line in flow.wrap(&view.headline, HEADLINE, flow.content_width()) {
        flow.put(left, flow.y, HEADLINE, &line);
        flow.y += 23.0;
    }
    if let Some(url) = view.page_url.as_deref().filter(|_| view.is_due) {
        const LINK: Style = Style {
            weight: Weight::SemiBold,
            size: SIZE,
            ink: ACCENT,
        };
        let label = view.words.pay_online;
        let (top, width) = (flow.y + 2.0, flow.text_width(label, LINK));
        flow.put(left, top, LINK, label);
        flow.canvas().rule(left, left + width, top + 11.6, ACCENT);
        flow.canvas().link(
            Area {
                left,
                top,
                width,
                height: LEADING,
            },
            url,
        );
        flow.y += LEADING + 3.0;
    }
    flow.y += 16.0;
}
