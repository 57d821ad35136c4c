//! The lines: a table that goes on over pages with its head repeated.

use super::canvas::Style;
use super::flow::{BODY, Flow, GREY, LABEL, LEADING, LINE, QUIET, SMALL};
use super::fonts::Weight;
use crate::render::view::LineView;

const GAP: f32 = 20.0;
const PADDING: f32 = 5.5;
const SMALL_LEADING: f32 = 11.5;
const HEAD_HEIGHT: f32 = 18.0;

/// Where the columns lie: the right end of each numeric one, and the width of the description.
struct Columns {
    description_width: f32,
    quantity_right: f32,
    quantity_width: f32,
    unit_price_right: f32,
    unit_price_width: f32,
    tax_right: f32,
    amount_right: f32,
    amount_width: f32,
}

impl Columns {
    /// As wide as their contents need, the description has the rest.
    fn of(flow: &Flow<'_>) -> Self {
        let (lines, words) = (&flow.view.lines, flow.view.words);
        let width = |label: &str, largest: f32, cell: &dyn Fn(&LineView) -> &str| {
            let head = flow.text_width(label, LABEL);
            let cells = lines.iter().map(|line| flow.text_width(cell(line), BODY));
            cells.fold(head, f32::max).min(largest)
        };
        let quantity_width = width(words.quantity, 92.0, &|line| &line.quantity);
        let unit_price_width = width(words.unit_price, 112.0, &|line| &line.unit_price);
        let tax_width = width(words.tax, 60.0, &|line| &line.tax);
        let amount_width = width(words.amount, 104.0, &|line| &line.amount);
        let amount_right = flow.right();
        let tax_right = amount_right - amount_width - GAP;
        let unit_price_right = tax_right - tax_width - GAP;
        let quantity_right = unit_price_right - unit_price_width - GAP;
        let description_width = quantity_right - quantity_width - GAP - Flow::LEFT;
        Self {
            description_width,
            quantity_right,
            quantity_width,
            unit_price_right,
            unit_price_width,
            tax_right,
            amount_right,
            amount_width,
        }
    }
}

/// One line of a cell's text and how it looks.
struct CellLine {
    text: String,
    style: Style,
    leading: f32,
}

/// Draws all lines.
pub(super) fn draw(flow: &mut Flow<'_>) {
    let columns = Columns::of(flow);
    flow.need(HEAD_HEIGHT + 2.0 * (LEADING + 2.0 * PADDING));
    head(flow, &columns);
    let view = flow.view;
    for line in &view.lines {
        row(flow, &columns, line);
    }
    if view.prices_include_tax {
        flow.need(SMALL_LEADING + 6.0);
        flow.put(
            Flow::LEFT,
            flow.y + 6.0,
            SMALL,
            view.words.prices_include_tax,
        );
    }
}

fn head(flow: &mut Flow<'_>, columns: &Columns) {
    let (words, y) = (flow.view.words, flow.y);
    flow.put(Flow::LEFT, y, LABEL, words.description);
    flow.put_right(columns.quantity_right, y, LABEL, words.quantity);
    flow.put_right(columns.unit_price_right, y, LABEL, words.unit_price);
    flow.put_right(columns.tax_right, y, LABEL, words.tax);
    flow.put_right(columns.amount_right, y, LABEL, words.amount);
    let (left, right) = (Flow::LEFT, flow.right());
    flow.canvas().rule(left, right, y + HEAD_HEIGHT - 3.0, GREY);
    flow.y += HEAD_HEIGHT;
}

fn description(flow: &Flow<'_>, columns: &Columns, line: &LineView) -> Vec<CellLine> {
    let width = columns.description_width;
    let main = flow
        .wrap(&line.description, BODY, width)
        .into_iter()
        .map(|text| CellLine {
            text,
            style: BODY,
            leading: LEADING,
        });
    let extra = [&line.product, &line.discount]
        .into_iter()
        .flatten()
        .flat_map(|text| flow.wrap(text, SMALL, width))
        .map(|text| CellLine {
            text,
            style: SMALL,
            leading: SMALL_LEADING,
        });
    main.chain(extra).collect()
}

fn row(flow: &mut Flow<'_>, columns: &Columns, line: &LineView) {
    let description = description(flow, columns, line);
    let quantity = flow.wrap(&line.quantity, QUIET, columns.quantity_width + 0.5);
    #[expect(clippy::cast_precision_loss, reason = "a cell has few lines")]
    let quantity_height = quantity.len() as f32 * LEADING;
    let text_height: f32 = description.iter().map(|line| line.leading).sum();
    let height = text_height.max(quantity_height) + 2.0 * PADDING;
    if flow.room() < height && height <= flow.page_room() - HEAD_HEIGHT {
        continue_on_next_page(flow, columns);
    }
    flow.y += PADDING;
    let top = flow.y;
    // In reading order: the description's first line, then the figures beside it.
    let mut lines = description.into_iter();
    if let Some(first) = lines.next() {
        flow.put(Flow::LEFT, top, first.style, &first.text);
        flow.y += first.leading;
    }
    for (at, text) in quantity.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a cell has few lines")]
        let y = top + at as f32 * LEADING;
        flow.put_right(columns.quantity_right, y, QUIET, text);
    }
    figure(
        flow,
        columns.unit_price_right,
        columns.unit_price_width,
        top,
        QUIET,
        &line.unit_price,
    );
    flow.put_right(columns.tax_right, top, QUIET, &line.tax);
    figure(
        flow,
        columns.amount_right,
        columns.amount_width,
        top,
        BODY,
        &line.amount,
    );
    let mut lowest = top + quantity_height;
    for line in lines {
        // Only a description longer than a page gets here.
        if flow.room() < line.leading + PADDING {
            continue_on_next_page(flow, columns);
            flow.y += PADDING;
            lowest = flow.y;
        }
        flow.put(Flow::LEFT, flow.y, line.style, &line.text);
        flow.y += line.leading;
    }
    flow.y = flow.y.max(lowest) + PADDING;
    let (left, right, y) = (Flow::LEFT, flow.right(), flow.y);
    flow.canvas().rule(left, right, y, LINE);
}

/// A number, set smaller when it is too long for its column: it is never cut or broken.
fn figure(flow: &mut Flow<'_>, right: f32, width: f32, y: f32, style: Style, text: &str) {
    let needed = flow.text_width(text, style);
    let size = if needed > width {
        style.size * width / needed
    } else {
        style.size
    };
    // The baseline stays that of the row.
    let y = y + super::flow::baseline(style.size) - super::flow::baseline(size);
    flow.put_right(
        right,
        y,
        Style {
            weight: Weight::Regular,
            size,
            ..style
        },
        text,
    );
}

fn continue_on_next_page(flow: &mut Flow<'_>, columns: &Columns) {
    flow.break_page();
    head(flow, columns);
}
