//! One charge, whatever becomes of its requests.

use super::*;

#[tokio::test]
async fn a_charge_is_one_confirmed_intent_under_the_effects_key() {
    let (stripe, script) = stripe([method(), answer(200, &intent("succeeded"))]).await;
    assert_eq!(stripe.charge(&charge()).await.unwrap(), succeeded());
    assert_eq!(script.asked(), [METHOD, CREATE]);
    let asked = script.request(1);
    assert_eq!(asked.key.as_deref(), Some(&*format!("{INVOICE}-charge-4")));
    assert_eq!(asked.version, API_VERSION);
    for (name, value) in [
        ("amount", "11900"),
        ("currency", "eur"),
        ("payment_method", "pm_card_visa"),
        ("confirm", "true"),
        ("automatic_payment_methods[enabled]", "true"),
        ("automatic_payment_methods[allow_redirects]", "never"),
        ("description", "2026-0001"),
        ("metadata[invoice]", INVOICE),
        (
            "metadata[organization]",
            "org_00000000000000000000000000000001",
        ),
        ("metadata[effect]", &format!("{INVOICE}-charge-4")),
    ] {
        assert_eq!(asked.value(name), Some(value), "{name}");
    }
    assert_eq!(asked.value("customer"), None);
}

#[tokio::test]
async fn a_saved_method_is_charged_with_its_customer() {
    let saved = answer(200, &json!({"id": "pm_1", "customer": "cus_7"}));
    let (stripe, script) = stripe([saved, answer(200, &intent("succeeded"))]).await;
    stripe.charge(&charge()).await.unwrap();
    assert_eq!(script.request(1).value("customer"), Some("cus_7"));
}

#[tokio::test]
async fn amounts_without_decimals_and_with_three_are_sent_as_stripe_writes_them() {
    for (minor, currency, sent) in [
        (500, "JPY", "500"),
        (5_120, "KWD", "5120"),
        (5, "ISK", "500"),
    ] {
        let (stripe, script) = stripe([method(), answer(200, &intent("succeeded"))]).await;
        stripe.charge(&charge_of(minor, currency)).await.unwrap();
        assert_eq!(script.request(1).value("amount"), Some(sent), "{currency}");
    }
    let (stripe, script) = stripe([]).await;
    assert!(is_rejected(&stripe.charge(&charge_of(5_124, "KWD")).await));
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn a_decline_names_the_banks_reason() {
    let error = json!({"error": {"type": "card_error", "code": "card_declined",
        "decline_code": "insufficient_funds", "message": "Your card has insufficient funds."}});
    let (stripe, _) = stripe([method(), answer(402, &error)]).await;
    assert_eq!(
        stripe.charge(&charge()).await.unwrap(),
        ChargeOutcome::Declined {
            code: "insufficient_funds".to_owned(),
            detail: "Your card has insufficient funds.".to_owned(),
        }
    );
}

#[tokio::test]
async fn a_method_that_stripe_does_not_know_is_declined_and_never_charged() {
    let missing = refusal("invalid_request_error", "resource_missing");
    let (stripe, script) = stripe([answer(404, &missing)]).await;
    assert_eq!(
        declined_with(stripe.charge(&charge()).await),
        "invalid_payment_method"
    );
    let mut elsewhere = charge();
    elsewhere.payment_method = "../events".to_owned();
    assert_eq!(
        declined_with(stripe.charge(&elsewhere).await),
        "invalid_payment_method"
    );
    assert_eq!(script.asked(), [METHOD]);
}

#[tokio::test]
async fn a_payment_that_wants_its_payer_is_canceled_so_that_it_can_not_succeed_later() {
    let (stripe, script) = stripe([
        method(),
        answer(200, &intent("requires_action")),
        answer(200, &intent("canceled")),
    ])
    .await;
    assert_eq!(
        declined_with(stripe.charge(&charge()).await),
        "authentication_required"
    );
    assert_eq!(script.asked(), [METHOD, CREATE, CANCEL]);
}

#[tokio::test]
async fn a_payment_that_can_not_be_canceled_is_what_it_has_become() {
    let refused = answer(
        400,
        &refusal("invalid_request_error", "payment_intent_unexpected_state"),
    );
    let (stripe, _) = stripe([
        method(),
        answer(200, &intent("requires_action")),
        refused,
        answer(200, &intent("succeeded")),
    ])
    .await;
    assert_eq!(stripe.charge(&charge()).await.unwrap(), succeeded());
}

#[tokio::test]
async fn while_a_cancellation_is_not_sure_the_outcome_is_unknown() {
    for second in [
        answer(429, &refusal("rate_limit", "rate_limit")),
        lost(),
        answer(500, &json!({})),
    ] {
        let (stripe, _) = stripe([method(), answer(200, &intent("requires_action")), second]).await;
        assert!(is_unknown(&stripe.charge(&charge()).await));
    }
}

#[tokio::test]
async fn a_kept_answer_that_is_not_final_is_asked_for_anew() {
    for (kept, now, settled) in [
        ("processing", "succeeded", Some(succeeded())),
        ("processing", "processing", None),
        ("requires_action", "succeeded", Some(succeeded())),
    ] {
        let (stripe, script) = stripe([
            method(),
            replayed(200, &intent(kept)),
            answer(200, &intent(now)),
        ])
        .await;
        let outcome = stripe.charge(&charge()).await;
        assert_eq!(script.asked(), [METHOD, CREATE, RETRIEVE]);
        match settled {
            Some(settled) => assert_eq!(outcome.unwrap(), settled),
            None => assert!(is_unknown(&outcome), "{outcome:?}"),
        }
    }
    let (stripe, _) = stripe([
        method(),
        replayed(200, &intent("requires_action")),
        answer(200, &intent("canceled")),
    ])
    .await;
    assert_eq!(
        declined_with(stripe.charge(&charge()).await),
        "authentication_required"
    );
}

#[tokio::test]
async fn the_outcome_is_unknown_once_the_request_may_have_arrived() {
    for unclear in [
        lost(),
        answer(409, &refusal("idempotency_error", "idempotency_key_in_use")),
        answer(500, &json!({})),
        answer(502, &json!("a proxy's page")),
        answer(200, &json!({"unreadable": true})),
        answer(200, &intent("processing")),
        answer(200, &intent("a_status_of_next_year")),
    ] {
        let told = format!("{unclear:?}");
        let (stripe, _) = stripe([method(), unclear]).await;
        let outcome = stripe.charge(&charge()).await;
        assert!(is_unknown(&outcome), "{told}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_surely_did_nothing_is_unavailable() {
    for refused in [
        answer(401, &refusal("invalid_request_error", "api_key_expired")),
        answer(403, &refusal("invalid_request_error", "permission")),
        answer(429, &refusal("rate_limit_error", "rate_limit")),
    ] {
        let (stripe, _) = stripe([method(), refused]).await;
        assert!(is_unavailable(&stripe.charge(&charge()).await));
    }
    // A lost answer to a question that moves no money.
    let (stripe, _) = stripe([lost()]).await;
    assert!(is_unavailable(&stripe.charge(&charge()).await));
    // No one listens. (With TLS, too: a client for the real address can be made.)
    provider("https://api.stripe.com");
    let nowhere = provider("http://127.0.0.1:1");
    assert!(is_unavailable(&nowhere.create_link(&link()).await));
}

#[tokio::test]
async fn a_wrong_request_is_rejected_with_stripes_reason_and_without_the_key() {
    let error = json!({"error": {"type": "invalid_request_error", "code": "amount_too_small",
        "message": "Amount must be at least €0.50 eur"}});
    let (stripe, _) = stripe([method(), answer(400, &error)]).await;
    let Err(error @ ProviderError::Rejected { .. }) = stripe.charge(&charge()).await else {
        panic!("not rejected");
    };
    assert_eq!(
        error.to_string(),
        "the payment provider refused the request: Stripe answered 400, amount_too_small: \
         Amount must be at least €0.50 eur"
    );
    let echo = json!({"error": {"message": format!("Invalid API Key provided: {KEY}")}});
    let (stripe, _) = self::stripe([answer(401, &echo)]).await;
    let Err(PingError::BadKey(sentence)) = stripe.ask().await else {
        panic!("the key is taken");
    };
    assert!(!sentence.contains(KEY), "{sentence}");
    assert!(!format!("{stripe:?}").contains(KEY));
}

fn foreign(id: &str) -> Value {
    json!({"id": id, "status": "succeeded", "metadata": {"effect": "of another one"}})
}

#[tokio::test]
async fn a_charge_older_than_its_key_is_looked_for_before_it_is_sent_again() {
    let mut old = charge();
    old.requested_at = "2026-11-20T13:00:00Z".parse().unwrap();
    let (stripe, script) = stripe([
        page(&[foreign("pi_9"), foreign("pi_8")], true),
        page(&[intent("succeeded")], false),
    ])
    .await;
    assert_eq!(stripe.charge(&old).await.unwrap(), succeeded());
    assert_eq!(script.asked(), [LIST, LIST]);
    assert_eq!(script.request(0).value("created[gte]"), Some("1795179300"));
    assert_eq!(script.request(1).value("starting_after"), Some("pi_8"));
    // It was never made: then it may be.
    let (stripe, script) = self::stripe([
        page(&[foreign("pi_9")], false),
        method(),
        answer(200, &intent("succeeded")),
    ])
    .await;
    assert_eq!(stripe.charge(&old).await.unwrap(), succeeded());
    assert_eq!(script.asked(), [LIST, METHOD, CREATE]);
    // It can't be looked for: then it must not be.
    for unclear in [lost(), answer(429, &json!({})), answer(400, &json!({}))] {
        let (stripe, script) = self::stripe([unclear]).await;
        assert!(is_unknown(&stripe.charge(&old).await));
        assert_eq!(script.asked(), [LIST]);
    }
    // Just before that age, it is sent.
    old.requested_at = "2026-11-20T13:00:01Z".parse().unwrap();
    let (stripe, script) = self::stripe([method(), answer(200, &intent("succeeded"))]).await;
    stripe.charge(&old).await.unwrap();
    assert_eq!(script.asked(), [METHOD, CREATE]);
}

#[tokio::test]
async fn a_key_used_with_another_request_and_a_kept_failure_are_settled_by_looking() {
    let other = answer(400, &refusal("idempotency_error", "idempotency_error"));
    let kept_failure = replayed(500, &refusal("api_error", "api_error"));
    for unclear in [other.clone(), kept_failure.clone()] {
        let (stripe, script) =
            stripe([method(), unclear, page(&[intent("succeeded")], false)]).await;
        assert_eq!(stripe.charge(&charge()).await.unwrap(), succeeded());
        assert_eq!(script.asked(), [METHOD, CREATE, LIST]);
    }
    let nothing = page(&[], false);
    let (stripe, _) = stripe([method(), other, nothing.clone()]).await;
    assert!(is_rejected(&stripe.charge(&charge()).await));
    let (stripe, _) = self::stripe([method(), kept_failure, nothing]).await;
    assert!(is_unknown(&stripe.charge(&charge()).await));
}

#[tokio::test]
async fn looking_for_a_charge_has_an_end() {
    let mut old = charge();
    old.requested_at = "2026-11-01T00:00:00Z".parse().unwrap();
    let pages = (0..20).map(|_| page(&[foreign("pi_9")], true));
    let (stripe, script) = stripe(pages).await;
    assert!(is_unknown(&stripe.charge(&old).await));
    assert_eq!(script.asked().len(), 20);
}
