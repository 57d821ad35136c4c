//! What follows the lines: the sums, how to pay, why no tax, terms and memo.

use qrcode::EcLevel;

use super::canvas::{Area, Style};
use super::code;
use super::flow::{BODY, Flow, INK, LABEL, LEADING, LINE, QUIET, SIZE, SMALL, STRONG};
use super::fonts::Weight;
use crate::render::view::{SumView, SumWeight};

/// Draws everything under the table. What is to be said fits beside the sums on most invoices.
pub(super) fn draw(flow: &mut Flow<'_>) {
    let beside = notes(flow, flow.content_width() * NOTES_BESIDE);
    let height: f32 = beside.iter().map(|line| line.leading).sum();
    let sums = sums(flow);
    if height <= sums.height {
        let mut y = sums.top + SUM_PADDING;
        for line in &beside {
            flow.put(Flow::LEFT, y, line.style, &line.text);
            y += line.leading;
        }
        paying(flow);
        return;
    }
    paying(flow);
    for line in notes(flow, flow.content_width() * NOTES_ALONE) {
        flow.need(line.leading + line.keep_with_next);
        flow.put(Flow::LEFT, flow.y, line.style, &line.text);
        flow.y += line.leading;
    }
}

/// The width of the notes, as a part of the page's.
const NOTES_BESIDE: f32 = 0.4;
const NOTES_ALONE: f32 = 0.86;

const fn sum_style(weight: SumWeight) -> (Style, Style) {
    match weight {
        SumWeight::Plain => (QUIET, BODY),
        SumWeight::Total => (STRONG, STRONG),
        SumWeight::Due => {
            let style = Style {
                weight: Weight::SemiBold,
                size: 11.0,
                ink: INK,
            };
            (style, style)
        }
    }
}

const SUM_PADDING: f32 = 4.0;

/// Where the sums stand on the page.
struct Sums {
    top: f32,
    /// Negative when they go on over a page.
    height: f32,
}

fn sums(flow: &mut Flow<'_>) -> Sums {
    flow.y += 10.0;
    let view = flow.view;
    let label_x = Flow::LEFT + flow.content_width() * 0.46;
    let widest = view
        .sums
        .iter()
        .map(|sum| flow.text_width(&sum.amount, sum_style(sum.weight).1));
    let amount_width = widest.fold(60.0, f32::max);
    let label_width = flow.right() - label_x - amount_width - 16.0;
    let rows: Vec<(&SumView, Vec<String>)> = view
        .sums
        .iter()
        .map(|sum| {
            (
                sum,
                flow.wrap(&sum.label, sum_style(sum.weight).0, label_width),
            )
        })
        .collect();
    let height = |lines: &Vec<String>| {
        #[expect(clippy::cast_precision_loss, reason = "a label has few lines")]
        let lines = lines.len().max(1) as f32;
        lines * LEADING + 2.0 * SUM_PADDING
    };
    // The sums stay together unless they alone are longer than a page.
    let all: f32 = rows.iter().map(|(_, lines)| height(lines)).sum();
    flow.need(all.min(flow.page_room()));
    let top = flow.y;
    for (at, (sum, lines)) in rows.iter().enumerate() {
        flow.need(height(lines).min(flow.page_room()));
        let right = flow.right();
        if at > 0 {
            let y = flow.y;
            flow.canvas().rule(label_x, right, y, LINE);
        }
        flow.y += SUM_PADDING;
        let (label_style, amount_style) = sum_style(sum.weight);
        let top = flow.y;
        for (at, line) in lines.iter().enumerate() {
            flow.need(LEADING);
            flow.put(label_x, flow.y, label_style, line);
            if at == 0 {
                flow.put_right(right, top, amount_style, &sum.amount);
            }
            flow.y += LEADING;
        }
        flow.y += SUM_PADDING;
    }
    let height = flow.y - top;
    flow.y += 14.0;
    Sums { top, height }
}

/// The side of a code, and the distance from one to the next.
const CODE_SIDE: f32 = 76.0;
const CODE_GAP: f32 = 26.0;

fn paying(flow: &mut Flow<'_>) {
    let view = flow.view;
    // Who has paid, or must not pay, is not asked to.
    if !view.is_due {
        return;
    }
    let page_code = view.page_url.as_deref();
    let page_code = page_code.and_then(|url| code::Code::of(url, EcLevel::L));
    // EPC069-12 asks for level M.
    let bank_code = view.bank.as_ref().and_then(|bank| bank.epc.as_deref());
    let bank_code = bank_code.and_then(|epc| code::Code::of(epc, EcLevel::M));
    let facts = view.bank.as_ref().map_or(&[][..], |bank| &bank.facts);
    if facts.is_empty() && page_code.is_none() {
        return;
    }
    let codes: Vec<(code::Code, &str)> = [
        bank_code.map(|code| (code, view.words.scan_to_transfer)),
        page_code.map(|code| (code, view.words.scan_to_pay)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let captions: Vec<Vec<String>> = codes
        .iter()
        .map(|(_, caption)| flow.wrap(caption, SMALL, CODE_SIDE))
        .collect();
    let caption_lines = captions.iter().map(Vec::len).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "a caption has few lines")]
    let codes_height = if codes.is_empty() {
        0.0
    } else {
        CODE_SIDE + 6.0 + caption_lines as f32 * 10.5
    };
    #[expect(clippy::cast_precision_loss, reason = "there are four facts")]
    let facts_height = LEADING + 4.0 + facts.len() as f32 * (LEADING + 1.0);
    flow.need(codes_height.max(facts_height) + 6.0);
    let (left, right) = (Flow::LEFT, flow.right());
    flow.y += 6.0;
    let top = flow.y;
    if !facts.is_empty() {
        let room = flow.content_width() - (CODE_SIDE + CODE_GAP) * 2.0;
        bank(flow, left, top, room);
    }
    let bank_bottom = flow.y;
    let mut x = right - CODE_SIDE;
    if facts.is_empty() {
        x = left;
    }
    for ((code, _), caption) in codes.iter().zip(&captions).rev() {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a code has at most 177 modules on a side"
        )]
        let side = code.side() as f32;
        let area = Area {
            left: x,
            top,
            width: CODE_SIDE,
            height: CODE_SIDE,
        };
        flow.picture(code.object(INK), area, (side, side));
        let mut y = top + CODE_SIDE + 6.0;
        for line in caption {
            flow.put(x, y, SMALL, line);
            y += 10.5;
        }
        x -= CODE_SIDE + CODE_GAP;
    }
    if let Some(url) = view.page_url.as_deref().filter(|_| !codes.is_empty()) {
        let left = if facts.is_empty() {
            left
        } else {
            right - CODE_SIDE
        };
        flow.canvas().link(
            Area {
                left,
                top,
                width: CODE_SIDE,
                height: CODE_SIDE,
            },
            url,
        );
    }
    flow.y = bank_bottom.max(top + codes_height) + 18.0;
}

fn bank(flow: &mut Flow<'_>, left: f32, top: f32, room: f32) {
    let view = flow.view;
    flow.put(left, top, LABEL, view.words.bank_transfer);
    flow.y = top + LEADING + 4.0;
    let Some(bank) = &view.bank else { return };
    let widest = bank
        .facts
        .iter()
        .map(|fact| flow.text_width(fact.label, QUIET));
    let label_width = widest.fold(0.0, f32::max) + 14.0;
    for fact in &bank.facts {
        flow.put(left, flow.y, QUIET, fact.label);
        // An IBAN is one number: it is not broken into lines.
        let value = if fact.label == "IBAN" {
            fact.value.replace(' ', "\u{a0}")
        } else {
            fact.value.clone()
        };
        for line in flow.wrap(&value, BODY, (room - label_width).max(SIZE * 8.0)) {
            flow.put(left + label_width, flow.y, BODY, &line);
            flow.y += LEADING + 1.0;
        }
    }
}

/// A line of the notes.
struct NoteLine {
    text: String,
    style: Style,
    leading: f32,
    /// What must stand on the same page below it.
    keep_with_next: f32,
}

/// Why no tax is due, payment terms, memo.
fn notes(flow: &Flow<'_>, width: f32) -> Vec<NoteLine> {
    const PARAGRAPH_GAP: f32 = 9.0;
    let view = flow.view;
    let mut lines: Vec<NoteLine> = Vec::new();
    let mut add = |label: Option<&str>, text: &str| {
        if let Some(last) = lines.last_mut() {
            last.leading += PARAGRAPH_GAP;
        }
        lines.extend(label.map(|label| NoteLine {
            text: label.to_owned(),
            style: LABEL,
            leading: LEADING + 1.0,
            keep_with_next: LEADING,
        }));
        lines.extend(
            flow.wrap(text, BODY, width)
                .into_iter()
                .map(|text| NoteLine {
                    text,
                    style: BODY,
                    leading: LEADING,
                    keep_with_next: 0.0,
                }),
        );
    };
    for reason in &view.exemptions {
        add(None, reason);
    }
    for note in &view.notes {
        add(Some(note.label), &note.text);
    }
    lines
}
