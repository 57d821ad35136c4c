//! The invoice as XLSX and CSV: the same figures as everywhere, as numbers.

use std::io::Cursor;

use crate::samples;
use calamine::{Data, DataType as _, Range, Reader, Xlsx};
use faktor::domain::invoice::{DocumentFormat, Invoice};
use faktor::domain::party::Locale;
use faktor::render::{RenderContext, document};
use jiff::civil::Date;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

fn workbook(invoice: &Invoice) -> Xlsx<Cursor<Vec<u8>>> {
    let bytes = document(invoice, DocumentFormat::Xlsx, &samples::context()).unwrap();
    Xlsx::new(Cursor::new(bytes)).unwrap()
}

fn first_sheet(invoice: &Invoice) -> Range<Data> {
    workbook(invoice).worksheet_range_at(0).unwrap().unwrap()
}

fn csv_rows(invoice: &Invoice, context: &RenderContext) -> Vec<Vec<String>> {
    let bytes = document(invoice, DocumentFormat::Csv, context).unwrap();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(&bytes[..]);
    reader
        .records()
        .map(|row| row.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

/// The last column's value in the row whose description is `label`.
fn sum_in(range: &Range<Data>, label: &str) -> f64 {
    let row = range.rows().find(|row| row[1].get_string() == Some(label));
    row.unwrap_or_else(|| panic!("no row {label:?}"))
        .last()
        .unwrap()
        .as_f64()
        .unwrap()
}

fn number(decimal: Decimal) -> f64 {
    decimal.to_f64().unwrap()
}

fn inclusive() -> Invoice {
    let mut content = samples::content();
    content.prices_include_tax = true;
    content
        .lines
        .push(samples::line("Poster", "3", None, "11.99", "7"));
    samples::invoice_of(content, samples::open().state)
}

#[test]
fn stored_results_of_all_formulas_equal_the_invoices_totals() {
    for invoice in [
        samples::open(),
        samples::rich(Locale::En),
        samples::with_lines(300),
        inclusive(),
    ] {
        let (range, totals) = (first_sheet(&invoice), &invoice.totals);
        let subtotal = if invoice.content.prices_include_tax {
            "Subtotal excluding tax"
        } else {
            "Subtotal"
        };
        for (label, wanted) in [
            (subtotal, totals.lines_net),
            ("Total excluding tax", totals.net),
            ("Total", totals.total),
            ("Amount due", invoice.due()),
        ] {
            let found = sum_in(&range, label);
            assert!(
                (found - number(wanted.to_decimal())).abs() < 1e-9,
                "{label}: {found} {wanted}"
            );
        }
    }
}

#[test]
fn the_formulas_themselves_come_to_the_same_totals() {
    for invoice in [
        samples::rich(Locale::En),
        samples::with_lines(300),
        inclusive(),
    ] {
        let range = first_sheet(&invoice);
        let last = range.width() - 1;
        let decimal = |data: &Data| {
            let number = data.as_f64().unwrap();
            Decimal::from_f64_retain(number).unwrap().round_dp(2)
        };
        let lines: Decimal = range
            .rows()
            .skip(1)
            .take(invoice.content.lines.len())
            .map(|row| decimal(&row[last]))
            .sum();
        assert_eq!(lines, invoice.totals.lines_net.to_decimal());
        let formulas = workbook(&invoice)
            .worksheet_formula(&first_name(&invoice))
            .unwrap();
        let formulas: Vec<&String> = formulas
            .used_cells()
            .map(|(_, _, formula)| formula)
            .collect();
        assert!(formulas[0].starts_with("SUM("), "{formulas:?}");
        assert!(
            formulas.iter().any(|formula| formula.starts_with("MAX(0,")),
            "{formulas:?}"
        );
    }
}

fn first_name(invoice: &Invoice) -> String {
    workbook(invoice).sheet_names()[0].clone()
}

#[test]
fn dates_are_dates() {
    let mut book = workbook(&samples::open());
    let details = book.worksheet_range("Details").unwrap();
    let due = details
        .rows()
        .find(|row| row[0].get_string() == Some("Date due"))
        .unwrap();
    let Data::DateTime(due) = &due[1] else {
        panic!("{:?} is no date", due[1])
    };
    let (year, month, day, ..) = due.to_ymd_hms_milli();
    assert_eq!((year, month, day), (2026, 12, 5));
    assert_eq!(Date::constant(2026, 12, 5), samples::issued().due_on);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let invoice = samples::rich(Locale::Pl);
    for format in [DocumentFormat::Xlsx, DocumentFormat::Csv] {
        let bytes = || document(&invoice, format, &samples::context()).unwrap();
        assert_eq!(bytes(), bytes());
    }
}

#[test]
fn csv_has_a_header_and_its_totals_stand_under_the_amounts() {
    let invoice = samples::open();
    let rows = csv_rows(&invoice, &samples::context());
    let width = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == width));
    let amount = rows[0]
        .iter()
        .position(|label| label == "Amount (EUR)")
        .unwrap();
    assert_eq!(rows[1][amount], "224.78");
    let at = |label: &str| {
        let row = rows.iter().find(|row| row[1] == label).unwrap();
        row[amount].clone()
    };
    assert_eq!(at("Subtotal"), "224.78");
    assert_eq!(at("Discount"), "-5.00");
    assert_eq!(at("Tax 19%"), "41.76");
    assert_eq!(at("Total"), "261.54");
    assert_eq!(at("Amount due"), "261.54");
}

#[test]
fn csv_lines_end_with_carriage_return_and_line_feed() {
    let bytes = document(&samples::open(), DocumentFormat::Csv, &samples::context()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.ends_with("\r\n"));
    assert!(text.lines().count() > 5);
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
}

#[test]
fn a_formula_in_a_text_stays_a_text() {
    let mut content = samples::content();
    "=HYPERLINK(\"https://evil.example\")".clone_into(&mut content.lines[0].description);
    content.lines[0].product = Some("@SUM(A1:A9)".to_owned());
    content.lines[0].unit = Some("+1".to_owned());
    let invoice = samples::invoice_of(content, samples::open().state);
    let rows = csv_rows(&invoice, &samples::context());
    assert_eq!(rows[1][1], "'=HYPERLINK(\"https://evil.example\")");
    assert_eq!(rows[1][2], "'@SUM(A1:A9)");
    assert_eq!(rows[1][4], "'+1");
    // A negative number stays a number.
    assert_eq!(rows[1][6], "-24.97");
    let range = first_sheet(&invoice);
    assert_eq!(
        range.get((1, 1)).unwrap().get_string(),
        Some("=HYPERLINK(\"https://evil.example\")")
    );
    let formulas = workbook(&invoice)
        .worksheet_formula(&first_name(&invoice))
        .unwrap();
    assert!(
        formulas
            .used_cells()
            .all(|(_, _, formula)| !formula.contains("HYPERLINK"))
    );
}

#[test]
fn sandbox_and_draft_are_said_in_every_format() {
    let context = RenderContext {
        sandbox: true,
        ..samples::context()
    };
    let rows = csv_rows(&samples::draft(), &context);
    for wanted in ["SANDBOX", "draft"] {
        assert!(rows.iter().any(|row| row[1].contains(wanted)));
        let bytes = document(&samples::draft(), DocumentFormat::Xlsx, &context).unwrap();
        let mut book = Xlsx::new(Cursor::new(bytes)).unwrap();
        let range = book.worksheet_range_at(0).unwrap().unwrap();
        assert!(
            range
                .rows()
                .any(|row| row[1].get_string().is_some_and(|t| t.contains(wanted)))
        );
    }
}
