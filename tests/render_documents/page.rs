//! The customer's page and the others made on the server.

use std::sync::Arc;

use crate::samples;
use faktor::domain::invoice::{FailedCharge, Invoice};
use faktor::domain::party::Locale;
use faktor::domain::problem::Problem;
use faktor::render::RenderContext;
use faktor::render::page::{
    SandboxCheckout, SandboxMethod, SetupForm, content_security_policy, invoice_page, missing_page,
    not_found_page, sandbox_checkout_page, setup_page,
};
use faktor::render::view::DocumentView;

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'`{{style}}</style><script>";

fn page(invoice: &Invoice) -> String {
    invoice_page(invoice, &samples::context()).unwrap()
}

#[test]
fn the_customer_sees_what_is_due_and_can_pay_and_download() {
    let invoice = samples::open();
    let html = page(&invoice);
    let base = format!("/i/{}", invoice.page_token());
    for part in [
        "<h1>€261.54 due 5 December 2026</h1>",
        "Pay €261.54",
        &format!("<form method=\"post\" action=\"{base}/pay\">"),
        &format!("href=\"{base}/document.pdf\""),
        &format!("href=\"{base}/document.xlsx\""),
        "Consulting",
        "€224.78",
        "DE89 3704 0044 0532 0130 00",
    ] {
        assert!(html.contains(part), "{part:?} is not in the page");
    }
    assert!(!html.contains("SANDBOX"));
}

#[test]
fn only_what_is_due_can_be_paid() {
    for invoice in [samples::paid(), samples::void()] {
        let html = page(&invoice);
        assert!(!html.contains("/pay\""));
        assert!(!html.contains("DE89 3704"));
    }
    let paid = page(&samples::paid());
    assert!(paid.contains("€261.54 paid on 3 December 2026"));
    assert!(paid.contains("class=\"pill paid\""));
    assert!(
        paid.contains("Bank transfer"),
        "the payment's history names its method"
    );
    assert!(page(&samples::void()).contains("has been voided"));
}

#[test]
fn a_declined_payment_is_said_while_money_is_due() {
    let mut invoice = samples::open();
    invoice.payment.last_failure = Some(Box::new(FailedCharge {
        effect: "inv_00000000000000000000000000000007-charge-1"
            .parse()
            .unwrap(),
        code: "card_declined".to_owned(),
        detail: "The card was declined.".to_owned(),
        at: invoice.created_at,
    }));
    assert!(page(&invoice).contains("last payment attempt was declined"));
    invoice.state = samples::paid().state;
    assert!(!page(&invoice).contains("last payment attempt was declined"));
}

#[test]
fn every_language_has_its_page() {
    for locale in Locale::ALL {
        let invoice = samples::rich(locale);
        let html = page(&invoice);
        assert!(html.contains(&format!("<html lang=\"{}\">", locale.code())));
        assert!(html.contains(&DocumentView::of(&invoice, &samples::context()).headline));
        assert!(
            !html.contains("{{") && !html.contains("{amount}"),
            "{locale:?}"
        );
        assert!(not_found_page(locale).contains(&format!("lang=\"{}\"", locale.code())));
    }
}

#[test]
fn nothing_a_caller_wrote_becomes_html() {
    let mut invoice = samples::rich(Locale::En);
    let content = Arc::make_mut(&mut invoice.content);
    for text in [
        &mut content.issuer.legal_name,
        &mut content.bill_to.name,
        &mut content.lines[0].description,
        &mut invoice.payment.received[0].method,
    ] {
        HOSTILE.clone_into(text);
    }
    for text in [
        &mut content.memo,
        &mut content.lines[1].product,
        &mut content.reference,
        &mut invoice.payment.received[0].reference,
    ] {
        *text = Some(HOSTILE.to_owned());
    }
    let html = page(&invoice);
    assert!(!html.contains("<img src=x"));
    assert!(!html.contains("<script"));
    assert_eq!(html.matches("</style>").count(), 1);

    let amount = invoice.due();
    let methods = [SandboxMethod {
        id: HOSTILE,
        label: HOSTILE,
    }];
    let checkout = SandboxCheckout {
        amount,
        description: HOSTILE,
        pay_url: HOSTILE,
        return_url: HOSTILE,
        methods: &methods,
        problem: Some(HOSTILE),
        closed: None,
    };
    let html = sandbox_checkout_page(&checkout).unwrap();
    assert!(!html.contains("<img") && !html.contains("<script"));
}

#[test]
fn pages_load_nothing_and_run_nothing() {
    let context = RenderContext {
        sandbox: true,
        ..samples::context()
    };
    let html = invoice_page(&samples::open(), &context).unwrap();
    for page in [html, missing_page()] {
        for forbidden in [
            "<script",
            "src=\"http",
            "<link",
            "@import",
            "url(",
            " onclick",
            " style=",
        ] {
            assert!(!page.contains(forbidden), "{forbidden:?} is in the page");
        }
    }
    let policy = content_security_policy();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
}

#[test]
fn a_logo_is_part_of_the_page() {
    let context = RenderContext {
        logo_png: Some(Arc::new(b"\x89PNG".to_vec())),
        ..samples::context()
    };
    let html = invoice_page(&samples::open(), &context).unwrap();
    assert!(
        html.contains("<img src=\"data:image/png;base64,iVBORw"),
        "{html}"
    );
}

#[test]
fn the_sandbox_says_so_and_offers_its_methods() {
    let context = RenderContext {
        sandbox: true,
        ..samples::context()
    };
    assert!(
        invoice_page(&samples::open(), &context)
            .unwrap()
            .contains("SANDBOX")
    );
    let methods = [
        "pm_ok",
        "pm_declined",
        "pm_slow",
        "pm_unavailable",
        "pm_lost_reply",
    ]
    .map(|id| SandboxMethod {
        id,
        label: "a card",
    });
    let checkout = SandboxCheckout {
        amount: samples::open().due(),
        description: "Invoice 2026-0001",
        pay_url: "/sandbox/checkout/1/pay",
        return_url: "/i/x",
        methods: &methods,
        problem: None,
        closed: None,
    };
    let html = sandbox_checkout_page(&checkout).unwrap();
    assert!(html.contains("SANDBOX") && html.contains("€261.54"));
    for method in methods {
        assert!(html.contains(&format!("name=\"payment_method\" value=\"{}\"", method.id)));
    }
    let closed = SandboxCheckout {
        closed: Some("This was already paid."),
        ..checkout
    };
    let html = sandbox_checkout_page(&closed).unwrap();
    assert!(html.contains("This was already paid.") && !html.contains("<form"));
}

#[test]
fn the_set_up_form_keeps_what_was_filled_in_and_shows_problems_beside_their_fields() {
    let form = SetupForm {
        action: "/setup",
        token: "secret",
        organization_name: "ACME & Sons",
        ..SetupForm::default()
    };
    let problem = |param: &str, detail: &str| Problem {
        param: param.to_owned(),
        code: "invalid".into(),
        detail: detail.to_owned(),
    };
    let problems = [
        problem("password", "too short"),
        problem("", "something else"),
    ];
    let html = setup_page(&form, &problems).unwrap();
    assert!(html.contains("value=\"ACME &amp; Sons\""));
    assert!(html.contains("<span class=\"problem-text\">too short</span>"));
    assert!(html.contains("role=\"alert\">something else"));
    assert!(html.contains("minlength=\"12\""));
    for name in [
        "organization_name",
        "first_name",
        "last_name",
        "email",
        "password",
        "token",
    ] {
        assert!(html.contains(&format!("name=\"{name}\"")));
    }
}
