//! The invoice as PDF: what it says, how it is paged, and that nothing else decides its bytes.

use std::sync::Arc;

use crate::samples;
use faktor::domain::invoice::{DocumentFormat, Invoice};
use faktor::domain::party::{Locale, PageSize};
use faktor::render::view::DocumentView;
use faktor::render::{RenderContext, RenderError, document, file_name};
use lopdf::{Document, Object};

fn pdf(invoice: &Invoice, context: &RenderContext) -> Vec<u8> {
    document(invoice, DocumentFormat::Pdf, context).unwrap()
}

/// The text of each page, in the order it is written, each run on a line of its own.
fn pages(bytes: &[u8]) -> Vec<String> {
    let document = Document::load_mem(bytes).unwrap();
    document
        .get_pages()
        .keys()
        .map(|page| document.extract_text(&[*page]).unwrap())
        .collect()
}

/// Without spaces of any kind, so that line breaks and no-break spaces don't matter.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn assert_says(text: &str, wanted: &str) {
    assert!(
        squeezed(text).contains(&squeezed(wanted)),
        "{wanted:?} is not in:\n{text}"
    );
}

#[test]
fn the_invoice_reads_from_top_to_bottom() {
    let text = pages(&pdf(&samples::open(), &samples::context())).concat();
    let wanted = [
        "Invoice",
        "Nordlicht Studio GmbH",
        "Invoice number",
        "2026-0001",
        "Date of issue",
        "21 November 2026",
        "Date due",
        "5 December 2026",
        "Purchase order",
        "PO-7",
        "From",
        "Hafenstraße 12",
        "20457 Hamburg",
        "Germany",
        "VAT ID DE287654321",
        "Bill to",
        "Ada GmbH",
        "10115 Berlin",
        "€261.54 due 5 December 2026",
        "Pay online",
        "Description",
        "Qty",
        "Unit price",
        "Tax",
        "Amount",
        "Consulting",
        "2.5 hours",
        "€99.90",
        "19%",
        "€224.78",
        "Discount 10%: -€24.97",
        "Subtotal",
        "€224.78",
        "Discount (loyalty)",
        "-€5.00",
        "Total excluding tax",
        "€219.78",
        "Tax 19% on €219.78",
        "€41.76",
        "Total",
        "€261.54",
        "Amount due",
        "€261.54",
        "Bank transfer",
        "DE89 3704 0044 0532 0130 00",
        "COBADEFFXXX",
        "Scan with your banking app",
        "Page 1 of 1",
    ];
    let text = squeezed(&text);
    let mut rest = text.as_str();
    for part in wanted.map(squeezed) {
        let at = rest
            .find(&part)
            .unwrap_or_else(|| panic!("{part:?} is not in {rest:?}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for context in [
        samples::context(),
        RenderContext {
            sandbox: true,
            ..samples::context()
        },
    ] {
        let invoice = samples::rich(Locale::Vi);
        assert_eq!(pdf(&invoice, &context), pdf(&invoice, &context));
    }
}

#[test]
fn another_amount_gives_another_document_id() {
    let id = |invoice: &Invoice| {
        let document = Document::load_mem(&pdf(invoice, &samples::context())).unwrap();
        document.trailer.get(b"ID").unwrap().clone()
    };
    assert_ne!(id(&samples::open()), id(&samples::paid()));
}

#[test]
fn one_page_is_at_most_25_kb_and_300_lines_are_at_most_60_kb() {
    let context = samples::context();
    assert!(pdf(&samples::open(), &context).len() <= 25_000);
    for locale in Locale::ALL {
        let size = pdf(&samples::rich(locale), &context).len();
        assert!(size <= 25_000, "{locale:?}: {size}");
    }
    assert!(pdf(&samples::with_lines(300), &context).len() <= 60_000);
}

#[test]
fn three_hundred_lines_go_over_pages_with_the_head_repeated_and_no_line_lost() {
    let invoice = samples::with_lines(300);
    let pages = pages(&pdf(&invoice, &samples::context()));
    assert!(pages.len() > 5);
    for (at, page) in pages.iter().enumerate() {
        assert_says(page, &format!("Page {} of {}", at + 1, pages.len()));
        if page.contains("Article") {
            assert_says(page, "Description");
            assert_says(page, "Unit price");
        }
    }
    let all = pages.concat();
    for line in 1..=300 {
        assert_says(&all, &format!("Article {line:03}:"));
    }
    assert_says(&all, &DocumentView::of(&invoice, &samples::context()).due);
}

#[test]
fn every_language_says_what_is_due_in_its_own_words_with_every_letter_drawn() {
    for locale in Locale::ALL {
        let invoice = samples::rich(locale);
        let text = pages(&pdf(&invoice, &samples::context())).concat();
        let view = DocumentView::of(&invoice, &samples::context());
        assert_says(&text, &view.headline);
        assert_says(&text, view.words.bill_to);
        assert_says(&text, view.words.reverse_charge);
        assert!(
            !text.contains('\u{fffd}'),
            "{locale:?}: a letter is missing"
        );
    }
}

#[test]
fn names_in_greek_cyrillic_and_vietnamese_are_drawn_and_can_be_copied() {
    let mut invoice = samples::open();
    for name in [
        "Αθήνα Εμπορική Α.Ε.",
        "ТОВ «Їжак і Ґанок»",
        "Công ty Cổ phần Giải pháp Ẩm thực",
    ] {
        name.clone_into(&mut invoice.content_mut().bill_to.name);
        assert_says(&pages(&pdf(&invoice, &samples::context())).concat(), name);
    }
}

#[test]
fn a_sign_without_a_glyph_is_shown_as_missing_and_crashes_nothing() {
    let mut invoice = samples::open();
    "漢字 🧾 ﷽ \u{0}\u{7}".clone_into(&mut invoice.content_mut().lines[0].description);
    let text = pages(&pdf(&invoice, &samples::context())).concat();
    assert!(text.contains('\u{fffd}'));
}

#[test]
fn marks_are_said_on_every_page() {
    let sandbox = RenderContext {
        sandbox: true,
        ..samples::context()
    };
    let draft = pages(&pdf(&samples::draft(), &sandbox)).concat();
    for wanted in [
        "Draft invoice",
        "DRAFT",
        "SANDBOX",
        "This is a draft",
        "Draft for €261.54",
    ] {
        assert_says(&draft, wanted);
    }
    let paid = pages(&pdf(&samples::paid(), &samples::context())).concat();
    for wanted in [
        "PAID",
        "€261.54 paid on 3 December 2026",
        "Amount due €0.00",
    ] {
        assert_says(&paid, wanted);
    }
    assert!(!squeezed(&paid).contains("SANDBOX"));
    let void = pages(&pdf(&samples::void(), &samples::context())).concat();
    for wanted in ["VOID", "This invoice is void", "has been voided"] {
        assert_says(&void, wanted);
    }
    let mut many = samples::with_lines(100);
    many.state = samples::void().state;
    for page in pages(&pdf(&many, &sandbox)) {
        assert_says(&page, "has been voided");
        assert_says(&page, "SANDBOX");
    }
}

#[test]
fn who_owes_nothing_is_shown_no_way_to_pay() {
    for invoice in [samples::draft(), samples::paid(), samples::void()] {
        let text = pages(&pdf(&invoice, &samples::context())).concat();
        assert!(!squeezed(&text).contains("Payonline"));
        assert!(!squeezed(&text).contains("DE8937"));
    }
}

#[test]
fn the_longest_texts_are_wrapped_over_pages_and_none_is_lost() {
    let mut invoice = samples::open();
    let words: Vec<String> = (0..700).map(|at| format!("word{at}")).collect();
    invoice.content_mut().lines[0].description = words.join("\n");
    invoice.content_mut().memo = Some(words.join(" "));
    invoice.content_mut().lines[0].unit = Some("u".repeat(200));
    invoice.content_mut().bill_to.name = "n".repeat(200);
    invoice.content_mut().payment_terms = Some("t".repeat(5_000));
    let text = squeezed(&pages(&pdf(&invoice, &samples::context())).concat());
    for at in [0, 1, 350, 699] {
        assert!(text.matches(&format!("word{at}")).count() >= 2, "word{at}");
    }
    assert!(text.matches('t').count() >= 5_000);
}

#[test]
fn the_largest_amounts_fit_their_columns() {
    let mut invoice = samples::open();
    let mut content = (*invoice.content).clone();
    content.discounts.clear();
    content.lines[0].discount = None;
    content.lines[0].quantity = samples::decimal("1000000.123456");
    content.lines[0].unit_price = samples::decimal("1000000.123456");
    invoice = samples::invoice_of(content, invoice.state);
    let text = pages(&pdf(&invoice, &samples::context())).concat();
    assert_says(&text, "€1,000,000.123456");
    assert_says(
        &text,
        &DocumentView::of(&invoice, &samples::context()).lines[0].amount,
    );
}

#[test]
fn pages_have_the_size_that_was_asked_for() {
    let size = |size: PageSize| {
        let mut invoice = samples::open();
        invoice.content_mut().page_size = size;
        let document = Document::load_mem(&pdf(&invoice, &samples::context())).unwrap();
        let page = document.page_iter().next().unwrap();
        let media_box = document
            .get_dictionary(page)
            .unwrap()
            .get(b"MediaBox")
            .unwrap()
            .clone();
        let sides = media_box.as_array().unwrap().clone();
        [
            format!("{:.0}", sides[2].as_float().unwrap()),
            format!("{:.0}", sides[3].as_float().unwrap()),
        ]
    };
    assert_eq!(size(PageSize::A4), ["595", "842"]);
    assert_eq!(size(PageSize::Letter), ["612", "792"]);
}

#[test]
fn title_author_language_and_dates_are_those_of_the_invoice() {
    let mut invoice = samples::open();
    invoice.content_mut().locale = Locale::De;
    let document = Document::load_mem(&pdf(&invoice, &samples::context())).unwrap();
    let info = document
        .trailer
        .get(b"Info")
        .unwrap()
        .as_reference()
        .unwrap();
    let info = document.get_dictionary(info).unwrap();
    let text = |key: &[u8]| lopdf::decode_text_string(info.get(key).unwrap()).unwrap();
    assert_eq!(text(b"Title"), "Rechnung 2026-0001");
    assert_eq!(text(b"Author"), "Nordlicht Studio GmbH");
    assert_eq!(text(b"CreationDate"), "D:20261121090000Z");
    let language = document
        .catalog()
        .unwrap()
        .get(b"Lang")
        .unwrap()
        .as_str()
        .unwrap();
    assert_eq!(language, b"de");
}

#[test]
fn fonts_are_embedded_as_tagged_subsets() {
    let document = Document::load_mem(&pdf(&samples::open(), &samples::context())).unwrap();
    let names: Vec<String> = document
        .objects
        .values()
        .filter_map(|object| match object {
            Object::Dictionary(dictionary) => dictionary.get(b"FontName").ok(),
            _ => None,
        })
        .map(|name| String::from_utf8(name.as_name().unwrap().to_vec()).unwrap())
        .collect();
    assert_eq!(names.len(), 2);
    for name in names {
        let (tag, face) = name.split_once('+').unwrap();
        assert_eq!(tag.len(), 6);
        assert!(tag.bytes().all(|b| b.is_ascii_uppercase()));
        assert!(face.starts_with("NotoSans"));
    }
}

#[test]
fn a_logo_is_drawn_and_what_is_no_png_is_refused_with_a_reason() {
    let with = |logo: &[u8]| {
        let context = RenderContext {
            logo_png: Some(Arc::new(logo.to_vec())),
            ..samples::context()
        };
        document(&samples::open(), DocumentFormat::Pdf, &context)
    };
    let bytes = with(samples::LOGO).unwrap();
    let pictures = Document::load_mem(&bytes).unwrap();
    let is_picture = |object: &&Object| match object {
        Object::Stream(stream) => {
            stream.dict.get(b"Subtype").and_then(Object::as_name).ok() == Some(b"Image")
        }
        _ => false,
    };
    // The picture and its opacity.
    assert_eq!(pictures.objects.values().filter(is_picture).count(), 2);
    for bad in [
        &b"GIF89a"[..],
        b"",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\x06",
    ] {
        assert!(matches!(with(bad), Err(RenderError::BadLogo { .. })));
    }
}

#[test]
fn a_file_name_is_plain_whatever_the_number_is() {
    let mut invoice = samples::open();
    assert_eq!(
        file_name(&invoice, DocumentFormat::Pdf),
        "invoice-2026-0001.pdf"
    );
    let mut issued = samples::issued();
    "../../etc/passwd\"\r\nX: ü".clone_into(&mut issued.number);
    invoice.state = faktor::domain::invoice::State::Open { issued };
    let name = file_name(&invoice, DocumentFormat::Csv);
    assert!(
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
        "{name}"
    );
    assert!(!name.contains(".."));
    assert!(file_name(&samples::draft(), DocumentFormat::Xlsx).starts_with("draft-inv_"));
}
