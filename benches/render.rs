//! How long documents take and how large they are, on one core.
//!
//! The limits (issue 3, point 11): a one-page PDF 2.5 ms and 25 KB, a PDF of 300 lines 15 ms and
//! 60 KB, an XLSX of 300 lines 4 ms. Sizes are checked here, times are for the reader to compare:
//! they are the machine's as much as the code's.

#![expect(clippy::unwrap_used, reason = "samples are valid")]

#[path = "../tests/render_documents/samples.rs"]
#[expect(dead_code, reason = "the tests take the other samples")]
mod samples;

use std::sync::Arc;

use divan::Bencher;
use divan::counter::BytesCount;
use faktor::domain::invoice::{DocumentFormat, Invoice};
use faktor::domain::party::Locale;
use faktor::render::{RenderContext, document, mail, page};

#[expect(
    clippy::print_stdout,
    reason = "a benchmark's figures are read on the terminal"
)]
fn main() {
    for (name, invoice, format, limit) in [
        ("one-page PDF", samples::open(), DocumentFormat::Pdf, 25_000),
        (
            "PDF of 300 lines",
            samples::with_lines(300),
            DocumentFormat::Pdf,
            60_000,
        ),
        (
            "XLSX of 300 lines",
            samples::with_lines(300),
            DocumentFormat::Xlsx,
            usize::MAX,
        ),
        (
            "CSV of 300 lines",
            samples::with_lines(300),
            DocumentFormat::Csv,
            usize::MAX,
        ),
    ] {
        let size = rendered(&invoice, format, &samples::context()).len();
        println!("{name}: {size} bytes");
        assert!(size <= limit, "{name} is larger than {limit} bytes");
    }
    divan::main();
}

fn rendered(invoice: &Invoice, format: DocumentFormat, context: &RenderContext) -> Vec<u8> {
    match document(invoice, format, context) {
        Ok(bytes) => bytes,
        Err(error) => panic!("{error}"),
    }
}

fn measure(bencher: Bencher<'_, '_>, invoice: &Invoice, format: DocumentFormat) {
    let context = samples::context();
    let size = rendered(invoice, format, &context).len();
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| rendered(invoice, format, &context));
}

#[divan::bench]
fn pdf_one_page(bencher: Bencher<'_, '_>) {
    measure(bencher, &samples::open(), DocumentFormat::Pdf);
}

#[divan::bench]
fn pdf_one_page_in_vietnamese(bencher: Bencher<'_, '_>) {
    measure(bencher, &samples::rich(Locale::Vi), DocumentFormat::Pdf);
}

#[divan::bench]
fn pdf_one_page_with_logo(bencher: Bencher<'_, '_>) {
    let context = RenderContext {
        logo_png: Some(Arc::new(samples::LOGO.to_vec())),
        ..samples::context()
    };
    let invoice = samples::open();
    bencher.bench_local(|| rendered(&invoice, DocumentFormat::Pdf, &context));
}

#[divan::bench]
fn pdf_300_lines(bencher: Bencher<'_, '_>) {
    measure(bencher, &samples::with_lines(300), DocumentFormat::Pdf);
}

#[divan::bench]
fn xlsx_300_lines(bencher: Bencher<'_, '_>) {
    measure(bencher, &samples::with_lines(300), DocumentFormat::Xlsx);
}

#[divan::bench]
fn csv_300_lines(bencher: Bencher<'_, '_>) {
    measure(bencher, &samples::with_lines(300), DocumentFormat::Csv);
}

#[divan::bench]
fn mail_of_an_invoice(bencher: Bencher<'_, '_>) {
    let order = faktor::domain::invoice::command::SendOrder {
        to: vec!["ap@ada.example".to_owned()],
        cc: vec![],
        message: None,
    };
    let (invoice, context) = (samples::open(), samples::context());
    bencher.bench_local(|| mail::invoice_mail(&invoice, &order, None, &context).map(|m| m.html));
}

#[divan::bench]
fn page_of_an_invoice(bencher: Bencher<'_, '_>) {
    let (invoice, context) = (samples::open(), samples::context());
    bencher.bench_local(|| page::invoice_page(&invoice, &context));
}
