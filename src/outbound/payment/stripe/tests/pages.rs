//! Pages on which customers pay, made and taken down.

use super::*;

#[tokio::test]
async fn a_payment_page_asks_for_what_is_due_once() {
    let session = json!({"id": "cs_1", "url": "https://checkout.stripe.com/c/pay/cs_1",
        "status": "open", "expires_at": 1_795_348_800});
    let (stripe, script) = stripe([answer(200, &session)]).await;
    let created = stripe.create_link(&link()).await.unwrap();
    assert_eq!(
        created,
        CreatedLink {
            id: "cs_1".to_owned(),
            url: "https://checkout.stripe.com/c/pay/cs_1".to_owned(),
            expires_at: Some("2026-11-22T12:00:00Z".parse().unwrap()),
        }
    );
    let asked = script.request(0);
    assert_eq!(asked.what, "POST /v1/checkout/sessions");
    let key = format!("{INVOICE}-payment_link-4");
    assert_eq!(asked.key.as_deref(), Some(&*key));
    for (name, value) in [
        ("mode", "payment"),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][unit_amount]", "11900"),
        ("line_items[0][price_data][currency]", "eur"),
        ("client_reference_id", INVOICE),
        ("success_url", "https://pay.example/i/token"),
        ("cancel_url", "https://pay.example/i/token"),
        ("metadata[invoice]", INVOICE),
        ("payment_intent_data[metadata][invoice]", INVOICE),
        ("payment_intent_data[metadata][effect]", &key),
    ] {
        assert_eq!(asked.value(name), Some(value), "{name}");
    }
    assert!(
        !asked
            .form
            .iter()
            .any(|(name, _)| name.starts_with("line_items[1]"))
    );
}

#[tokio::test]
async fn a_page_to_return_to_must_be_a_web_address() {
    let (stripe, script) = stripe([]).await;
    for return_url in ["", "javascript:alert(1)", "https://x/\n"] {
        let nowhere = LinkRequest {
            return_url: return_url.to_owned(),
            ..link()
        };
        assert!(is_rejected(&stripe.create_link(&nowhere).await));
    }
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn taking_down_a_page_that_is_closed_or_gone_is_fine() {
    let closed = answer(400, &refusal("invalid_request_error", "none"));
    let session = |status: &str| answer(200, &json!({"id": "cs_1", "status": status}));
    for (answers, done) in [
        (vec![session("expired")], true),
        (vec![closed.clone(), session("expired")], true),
        (vec![closed, session("open")], false),
        (
            vec![answer(
                404,
                &refusal("invalid_request_error", "resource_missing"),
            )],
            true,
        ),
        (vec![answer(500, &json!({}))], false),
    ] {
        let (stripe, _) = stripe(answers.clone()).await;
        let result = stripe.expire_link("cs_1").await;
        assert_eq!(result.ok(), done.then_some(LinkEnd::Closed), "{answers:?}");
    }
}

#[tokio::test]
async fn taking_down_a_page_that_was_paid_says_by_what() {
    let refused = answer(400, &refusal("invalid_request_error", "none"));
    let session = |paid: &str| {
        answer(
            200,
            &json!({"id": "cs_1", "status": "complete", "payment_status": paid,
                    "payment_intent": "pi_1", "amount_total": 119, "currency": "jpy"}),
        )
    };
    let payment = |status: &str| answer(200, &json!({"id": "pi_1", "status": status}));
    let paid = Some(LinkEnd::Paid {
        payment_id: "pi_1".to_owned(),
        amount: Money::new(119, "JPY".parse().unwrap()),
        method: "card".to_owned(),
    });
    for (answers, end) in [
        (vec![refused.clone(), session("paid")], paid.clone()),
        // A debit takes days: it is under way, then there or not.
        (
            vec![refused.clone(), session("unpaid"), payment("processing")],
            Some(LinkEnd::UnderWay),
        ),
        (
            vec![refused.clone(), session("unpaid"), payment("succeeded")],
            paid,
        ),
        (
            vec![
                refused,
                session("unpaid"),
                payment("requires_payment_method"),
            ],
            Some(LinkEnd::Closed),
        ),
    ] {
        let (stripe, _) = stripe(answers.clone()).await;
        let result = stripe.expire_link("cs_1").await;
        assert_eq!(result.ok(), end, "{answers:?}");
    }
}
