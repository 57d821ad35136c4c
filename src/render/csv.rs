//! The invoice as CSV (RFC 4180): one header row, the lines, then the sums in the last column,
//! then what must not be missed (draft, void, sandbox).

use csv::{Terminator, WriterBuilder};

use super::sheet::{Cell, Sheet};
use super::view::DocumentView;
use super::{RenderContext, RenderError};
use crate::domain::invoice::Invoice;

/// Renders an invoice. Numbers are plain (`-1204.22`), whatever the language; labels are in it.
pub fn document(invoice: &Invoice, context: &RenderContext) -> Result<Vec<u8>, RenderError> {
    let view = DocumentView::of(invoice, context);
    let sheet = Sheet::of(invoice, &view);
    let failed = |error: csv::Error| RenderError::Failed {
        reason: error.to_string(),
    };
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    writer
        .write_record(sheet.columns.iter().map(|column| guarded(&column.label)))
        .map_err(failed)?;
    for row in &sheet.rows {
        writer
            .write_record(row.iter().map(text_of))
            .map_err(failed)?;
    }
    let last = sheet.columns.len().saturating_sub(1);
    let mut under_lines = |label: &str, amount: &str| {
        let cells = (0..=last).map(|at| match at {
            1 => guarded(label),
            at if at == last => amount.to_owned(),
            _ => String::new(),
        });
        writer.write_record(cells).map_err(failed)
    };
    for sum in &sheet.sums {
        under_lines(&sum.label, &sum.amount.to_string())?;
    }
    for warning in &sheet.warnings {
        under_lines(warning, "")?;
    }
    writer.into_inner().map_err(|error| RenderError::Failed {
        reason: error.to_string(),
    })
}

fn text_of(cell: &Cell) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Text(text) => guarded(text),
        Cell::Number(number) => number.to_string(),
        Cell::Date(date) => date.to_string(),
    }
}

/// A text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, CSV
/// injection). Numbers are never texts here, so they stay numbers.
fn guarded(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_would_be_a_formula_is_defused() {
        for text in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "=HYPERLINK(\"x\")",
        ] {
            assert_eq!(guarded(text), format!("'{text}"));
        }
        assert_eq!(guarded("Consulting - May"), "Consulting - May");
    }
}
