//! The invoice as a workbook: the lines with their sums as formulas, and a sheet with the rest.

use rust_decimal::prelude::ToPrimitive;
use rust_xlsxwriter::{
    DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Formula, Workbook, Worksheet,
    XlsxError,
};

use super::sheet::{Cell, Kind, Origin, Sheet, SumRow};
use super::view::{DocumentView, SumWeight};
use super::{RenderContext, RenderError};
use crate::domain::invoice::Invoice;
use crate::domain::party::PageSize;

/// Renders an invoice. Every sum is a formula whose stored result is the invoice's own figure.
pub fn document(invoice: &Invoice, context: &RenderContext) -> Result<Vec<u8>, RenderError> {
    let view = DocumentView::of(invoice, context);
    workbook(invoice, &view).map_err(|error| RenderError::Failed {
        reason: error.to_string(),
    })
}

fn workbook(invoice: &Invoice, view: &DocumentView) -> Result<Vec<u8>, XlsxError> {
    let sheet = Sheet::of(invoice, view);
    let formats = Formats::of(invoice.currency().decimals());
    let mut book = Workbook::new();
    let created = ExcelDateTime::from_timestamp(invoice.updated_at.as_second())?;
    let properties = DocProperties::new()
        .set_title(&view.title)
        .set_author(&view.issuer.name)
        .set_creation_datetime(&created);
    book.set_properties(&properties);
    let lines = book.add_worksheet();
    lines.set_name(sheet_name(&view.title))?;
    page_setup(lines, view.page_size);
    write_lines(lines, &sheet, &formats)?;
    let details = book.add_worksheet();
    details.set_name(sheet_name(view.words.details))?;
    page_setup(details, view.page_size);
    write_details(details, &sheet, &formats)?;
    book.save_to_buffer()
}

/// At most 31 characters, none of which Excel reserves.
fn sheet_name(text: &str) -> String {
    let allowed = text
        .chars()
        .filter(|c| !c.is_control() && !"[]:*?/\\'".contains(*c));
    let name: String = allowed.take(31).collect();
    if name.trim().is_empty() {
        "Invoice".to_owned()
    } else {
        name
    }
}

fn page_setup(sheet: &mut Worksheet, size: PageSize) {
    sheet.set_paper_size(match size {
        PageSize::Letter => 1,
        PageSize::A4 => 9,
    });
    sheet.set_landscape();
    sheet.set_print_fit_to_pages(1, 0);
}

struct Formats {
    head: Format,
    head_right: Format,
    text: Format,
    number: Format,
    price: Format,
    money: Format,
    label: Format,
    date: Format,
    sum: Format,
    sum_label: Format,
    total: Format,
    total_label: Format,
}

impl Formats {
    fn of(decimals: u32) -> Self {
        let zeros = |decimals: u32| match decimals {
            0 => "#,##0".to_owned(),
            decimals => format!("#,##0.{}", "0".repeat(decimals as usize)),
        };
        let money = zeros(decimals);
        let price = format!("{}{}", zeros(decimals.max(2)), "#".repeat(4));
        let top = Format::new().set_align(FormatAlign::Top);
        let head = Format::new()
            .set_bold()
            .set_text_wrap()
            .set_align(FormatAlign::Bottom)
            .set_border_bottom(FormatBorder::Thin);
        let bold = Format::new().set_bold().set_border_top(FormatBorder::Thin);
        Self {
            head_right: head.clone().set_align(FormatAlign::Right),
            head,
            text: top.clone().set_text_wrap(),
            number: top.clone(),
            price: top.clone().set_num_format(price),
            money: top.clone().set_num_format(&money),
            label: top.clone().set_bold(),
            date: top
                .set_num_format("yyyy-mm-dd")
                .set_align(FormatAlign::Left),
            sum: Format::new().set_num_format(&money),
            sum_label: Format::new(),
            total: bold.clone().set_num_format(&money),
            total_label: bold,
        }
    }
}

fn write_lines(out: &mut Worksheet, sheet: &Sheet, formats: &Formats) -> Result<(), XlsxError> {
    for (at, column) in (0_u16..).zip(&sheet.columns) {
        let format = if column.kind == Kind::Text {
            &formats.head
        } else {
            &formats.head_right
        };
        out.write_string_with_format(0, at, &column.label, format)?;
        out.set_column_width(at, column.width)?;
        // A cell takes its column's format: looking it up for every cell is what writing costs.
        out.set_column_format(
            at,
            match column.kind {
                Kind::Text => &formats.text,
                Kind::Number => &formats.number,
                Kind::Price => &formats.price,
                Kind::Money => &formats.money,
            },
        )?;
    }
    out.set_freeze_panes(1, 0)?;
    out.set_repeat_rows(0, 0)?;
    let mut row = 1_u32;
    for cells in &sheet.rows {
        for (at, cell) in (0_u16..).zip(cells) {
            match cell {
                Cell::Empty | Cell::Date(_) => {}
                // Always as a string: a text that looks like a formula stays a text.
                Cell::Text(text) => {
                    out.write_string(row, at, text)?;
                }
                Cell::Number(number) => {
                    out.write_number(row, at, number.to_f64().unwrap_or(f64::NAN))?;
                }
            }
        }
        row += 1;
    }
    write_sums(out, sheet, formats, row)
}

/// The sums, below an empty row, in the last column. Their formulas name the cells they add.
fn write_sums(
    out: &mut Worksheet,
    sheet: &Sheet,
    formats: &Formats,
    after_lines: u32,
) -> Result<(), XlsxError> {
    let column = u16::try_from(sheet.columns.len().saturating_sub(1)).unwrap_or(u16::MAX);
    let letter = char::from(b'A' + u8::try_from(column).unwrap_or(0));
    let first = after_lines + 1;
    let mut own: Vec<String> = Vec::new();
    let mut total_cell = String::new();
    let mut paid_cell = String::new();
    for (row, sum) in (first..).zip(&sheet.sums) {
        let (label, amount) = match sum.weight {
            SumWeight::Plain => (&formats.sum_label, &formats.sum),
            SumWeight::Total | SumWeight::Due => (&formats.total_label, &formats.total),
        };
        out.write_string_with_format(row, 1, &sum.label, label)?;
        let cell = format!("{letter}{}", row + 1);
        let formula = match sum.origin {
            Origin::Lines => Some(format!("=SUM({letter}2:{letter}{after_lines})")),
            Origin::SumsAbove => Some(format!("={}", own.join("+"))),
            Origin::Due => Some(format!("=MAX(0,{total_cell}+{paid_cell})")),
            Origin::Given => None,
        };
        match formula {
            Some(formula) => {
                let formula = Formula::new(formula).set_result(sum.amount.to_string());
                out.write_formula_with_format(row, column, formula, amount)?;
            }
            None => {
                out.write_number_with_format(row, column, number_of(sum), amount)?;
            }
        }
        match (sum.origin, sum.weight) {
            (Origin::SumsAbove, SumWeight::Total) => total_cell = cell,
            (Origin::Given, _) if !total_cell.is_empty() => paid_cell = cell,
            (Origin::Lines | Origin::Given, _) => own.push(cell),
            _ => {}
        }
    }
    let below = first + u32::try_from(sheet.sums.len()).unwrap_or(u32::MAX - first) + 1;
    for (row, warning) in (below..).zip(&sheet.warnings) {
        out.write_string_with_format(row, 1, *warning, &formats.label)?;
    }
    Ok(())
}

fn number_of(sum: &SumRow) -> f64 {
    sum.amount.to_decimal().to_f64().unwrap_or(f64::NAN)
}

fn write_cell(
    out: &mut Worksheet,
    row: u32,
    column: u16,
    cell: &Cell,
    format: &Format,
) -> Result<(), XlsxError> {
    match cell {
        Cell::Empty => {}
        Cell::Text(text) => {
            out.write_string_with_format(row, column, text, format)?;
        }
        Cell::Number(number) => {
            let number = number.to_f64().unwrap_or(f64::NAN);
            out.write_number_with_format(row, column, number, format)?;
        }
        Cell::Date(date) => {
            let day = ExcelDateTime::from_ymd(
                date.year().unsigned_abs(),
                date.month().unsigned_abs(),
                date.day().unsigned_abs(),
            )?;
            out.write_datetime_with_format(row, column, &day, format)?;
        }
    }
    Ok(())
}

fn write_details(out: &mut Worksheet, sheet: &Sheet, formats: &Formats) -> Result<(), XlsxError> {
    out.set_column_width(0, 32.0)?;
    out.set_column_width(1, 64.0)?;
    for (row, (label, value)) in (0_u32..).zip(&sheet.details) {
        out.write_string_with_format(row, 0, label, &formats.label)?;
        let format = match value {
            Cell::Date(_) => &formats.date,
            Cell::Number(_) => &formats.money,
            Cell::Empty | Cell::Text(_) => &formats.text,
        };
        write_cell(out, row, 1, value, format)?;
    }
    Ok(())
}
