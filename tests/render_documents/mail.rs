//! What is mailed: in the invoice's language, escaped, and never able to break out of its header.

use crate::samples;
use faktor::domain::invoice::State;
use faktor::domain::invoice::command::SendOrder;
use faktor::domain::party::{Locale, MailTexts};
use faktor::render::RenderContext;
use faktor::render::mail::{check_mail_texts, invoice_mail, upload_notice};
use faktor::render::view::DocumentView;

fn order(message: Option<&str>) -> SendOrder {
    SendOrder {
        to: vec!["ap@ada.example".to_owned()],
        cc: vec![],
        message: message.map(str::to_owned),
    }
}

const HOSTILE: &str = "<script>alert(1)</script>\"' & {{number}}\r\nBcc: all@evil.example";

#[test]
fn a_mail_says_what_is_due_when_and_where_to_pay() {
    let mail = invoice_mail(&samples::open(), &order(None), None, &samples::context()).unwrap();
    assert_eq!(mail.subject, "Invoice 2026-0001 from Nordlicht Studio GmbH");
    let page = format!(
        "https://invoices.example/i/{}",
        samples::open().page_token()
    );
    for part in [
        "€261.54 due 5 December 2026",
        "View and pay €261.54",
        "2026-0001",
        &page,
    ] {
        assert!(
            mail.text.contains(part),
            "{part:?} is not in:\n{}",
            mail.text
        );
        assert!(mail.html.contains(part), "{part:?} is not in the HTML");
    }
    assert!(mail.text.contains("DE89 3704 0044 0532 0130 00"));
}

#[test]
fn the_text_has_its_paragraphs_apart() {
    let context = RenderContext {
        sandbox: true,
        ..samples::context()
    };
    let mail = invoice_mail(&samples::open(), &order(Some("See you.")), None, &context).unwrap();
    let page = format!(
        "https://invoices.example/i/{}",
        samples::open().page_token()
    );
    let wanted = format!(
        "Hello,\n\nPlease find attached invoice 2026-0001 for €261.54, due on 5 December 2026.\n\n\
         See you.\n\n€261.54 due 5 December 2026\n\nInvoice number: 2026-0001\n\
         Date of issue: 21 November 2026\nDate due: 5 December 2026\nPurchase order: PO-7\n\
         Total: €261.54\n\nView and pay €261.54:\n{page}\n\nBank transfer\n\
         Account holder: Nordlicht Studio GmbH\nIBAN: DE89 3704 0044 0532 0130 00\n\
         BIC: COBADEFFXXX\nReference: 2026-0001\n\n\
         If you have any questions, simply reply to this message.\n\nNordlicht Studio GmbH\n\n\
         -- \nNordlicht Studio GmbH\nHRB 12345, Amtsgericht Hamburg\nVAT ID DE287654321\n\
         SANDBOX: a test document. Payments are simulated; no money moves.\n"
    );
    assert_eq!(mail.text, wanted);
}

#[test]
fn without_a_page_of_our_own_the_mail_leads_to_the_providers() {
    let context = RenderContext {
        public_url: None,
        ..samples::context()
    };
    let url = "https://pay.example/s?a=1&b=2";
    let mail = invoice_mail(&samples::open(), &order(None), Some(url), &context).unwrap();
    assert!(mail.text.contains(url));
    assert!(mail.html.contains("https://pay.example/s?a"));
    let paid = invoice_mail(&samples::paid(), &order(None), Some(url), &context).unwrap();
    assert!(!paid.text.contains(url), "who has paid is not asked to");
}

#[test]
fn a_mail_is_written_in_the_invoices_language() {
    for locale in Locale::ALL {
        let invoice = samples::rich(locale);
        let mail = invoice_mail(&invoice, &order(None), None, &samples::context()).unwrap();
        let view = DocumentView::of(&invoice, &samples::context());
        assert!(mail.text.contains(view.words.mail_greeting), "{locale:?}");
        assert!(mail.text.contains(&view.headline), "{locale:?}");
        assert!(
            mail.html
                .contains(&format!("<html lang=\"{}\">", locale.code()))
        );
        assert!(
            !mail.text.contains(['{', '}']),
            "{locale:?}: a place was not filled"
        );
        assert!(
            !mail.html.contains("{{"),
            "{locale:?}: a place was not filled"
        );
    }
}

#[test]
fn a_subject_is_one_line_whatever_the_names_are() {
    let mut invoice = samples::open();
    HOSTILE.clone_into(&mut invoice.content_mut().issuer.legal_name);
    let mut issued = samples::issued();
    "1\r\nBcc: x@evil.example\u{2028}\u{85}\0".clone_into(&mut issued.number);
    invoice.state = State::Open { issued };
    let subjects = [None, Some("{{issuer}}\n{{number}}".to_owned())].map(|subject| {
        invoice.content_mut().mail_texts = MailTexts {
            subject,
            ..MailTexts::default()
        };
        invoice_mail(&invoice, &order(None), None, &samples::context())
            .unwrap()
            .subject
    });
    for subject in subjects {
        assert!(!subject.chars().any(char::is_control), "{subject:?}");
        assert!(!subject.contains(['\u{2028}', '\u{2029}']), "{subject:?}");
        assert!(subject.chars().count() <= 200);
    }
}

#[test]
fn nothing_a_caller_wrote_becomes_html() {
    let mut invoice = samples::rich(Locale::En);
    let content = invoice.content_mut();
    for text in [
        &mut content.issuer.legal_name,
        &mut content.bill_to.name,
        &mut content.lines[0].description,
    ] {
        HOSTILE.clone_into(text);
    }
    invoice.content_mut().purchase_order = Some(HOSTILE.to_owned());
    invoice.content_mut().mail_texts = MailTexts {
        subject: None,
        introduction: Some(format!("{HOSTILE} {{{{issuer}}}}")),
        closing: Some(HOSTILE.to_owned()),
    };
    let mail = invoice_mail(&invoice, &order(Some(HOSTILE)), None, &samples::context()).unwrap();
    assert!(!mail.html.contains("<script"));
    assert!(mail.html.contains("&lt;script&gt;"));
}

#[test]
fn an_organizations_own_words_replace_ours() {
    let mut invoice = samples::open();
    invoice.content_mut().mail_texts = MailTexts {
        subject: Some("{{issuer}}: {{number}} over {{due}}".to_owned()),
        introduction: Some("Dear {{customer}},\n\nplease pay by {{due_on}}.".to_owned()),
        closing: Some("Yours, Nora".to_owned()),
    };
    assert_eq!(check_mail_texts(&invoice.content.mail_texts), Ok(()));
    let message = Some("And thank you for Friday.");
    let mail = invoice_mail(&invoice, &order(message), None, &samples::context()).unwrap();
    assert_eq!(
        mail.subject,
        "Nordlicht Studio GmbH: 2026-0001 over €261.54"
    );
    for part in [
        "Dear Ada GmbH,",
        "please pay by 5 December 2026.",
        "Yours, Nora",
        "And thank you for Friday.",
    ] {
        assert!(
            mail.text.contains(part),
            "{part:?} is not in:\n{}",
            mail.text
        );
        assert!(mail.html.contains(part));
    }
    assert!(!mail.text.contains("Please find attached"));
}

#[test]
fn a_sandboxs_mail_says_so_in_subject_and_body() {
    let context = RenderContext {
        sandbox: true,
        ..samples::context()
    };
    let mail = invoice_mail(&samples::open(), &order(None), None, &context).unwrap();
    assert!(mail.subject.starts_with("[SANDBOX] "));
    assert!(mail.text.contains("SANDBOX: a test document"));
    assert!(mail.html.contains("SANDBOX: a test document"));
}

#[test]
fn an_uploader_is_told_the_files_id_and_where_to_get_it() {
    let invoice = samples::open();
    let mail = upload_notice(&invoice, &samples::context()).unwrap();
    assert_eq!(mail.subject, "Your document for invoice 2026-0001 is ready");
    let url = format!("https://invoices.example/download?fid={}", invoice.id);
    assert!(mail.text.contains(&url), "{}", mail.text);
    assert!(mail.html.contains(&invoice.id.to_string()));
}
