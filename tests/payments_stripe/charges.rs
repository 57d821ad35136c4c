//! Charging a payment method through `pay`.

use std::sync::atomic::{AtomicUsize, Ordering};

use faktor::domain::money::{Currency, Money};
use faktor::outbound::payment::stripe::StripeProvider;
use faktor::outbound::payment::{ChargeOutcome, EventsQuery, LinkRequest, ProviderError};
use serde_json::json;

use crate::backends::backend;
use crate::fake::{Fake, charge, issued, paid_once, path_of, provider, start};

#[tokio::test]
async fn pay_takes_the_money_once_and_names_stripes_payment() {
    let Some(fake) = Fake::found() else { return };
    let app = start(&fake.url).await;
    let id = app.open_invoice().await;
    let pay = format!("{}/pay", path_of(&id));
    let paid = app
        .post(&pay, json!({"payment_method": "pm_card_visa"}))
        .await;
    assert_eq!(paid.expect(200)["status"], "paid");
    let paid = paid_once(&app, &id).await;
    let received = &paid["payment"]["received"][0];
    let intents = fake.intents(&id).await;
    assert_eq!(intents.len(), 1, "{intents:?}");
    assert_eq!(intents[0]["amount"], 11_900);
    assert_eq!(received["provider"], "stripe", "{received}");
    assert_eq!(received["provider_payment"], intents[0]["id"], "{received}");
    app.post(&pay, json!({"payment_method": "pm_card_visa"}))
        .await
        .expect_problem(409, "already_paid");
}

#[tokio::test]
async fn a_declined_card_is_402_and_another_card_may_pay() {
    let Some(fake) = Fake::found() else { return };
    let app = start(&fake.url).await;
    let id = app.open_invoice().await;
    let pay = format!("{}/pay", path_of(&id));
    let declined = json!({"payment_method": "pm_card_visa_chargeDeclined"});
    app.post(&pay, declined)
        .await
        .expect_problem(402, "generic_decline");
    app.post(&pay, json!({"payment_method": "pm_no_such_card"}))
        .await
        .expect_problem(402, "invalid_payment_method");
    assert_eq!(app.invoice(&id).await["status"], "open");
    let paid = app
        .post(&pay, json!({"payment_method": "pm_card_visa"}))
        .await;
    assert_eq!(paid.expect(200)["status"], "paid");
    let succeeded = fake.intents(&id).await.into_iter();
    assert_eq!(
        succeeded
            .filter(|intent| intent["status"] == "succeeded")
            .count(),
        1
    );
}

#[tokio::test]
async fn one_charge_asked_for_a_hundred_times_at_once_is_one_payment() {
    let Some(fake) = Fake::found() else { return };
    let stripe = provider(&fake.url);
    let request = charge(Money::new(11_900, Currency::EUR));
    let asked = (0..100).map(|_| stripe.charge(&request));
    for outcome in futures_util::future::join_all(asked).await {
        assert!(
            matches!(
                outcome,
                Ok(ChargeOutcome::Succeeded { .. }) | Err(ProviderError::OutcomeUnknown { .. })
            ),
            "{outcome:?}"
        );
    }
    let intents = fake.intents(&request.invoice.to_string()).await;
    assert_eq!(intents.len(), 1, "{intents:?}");
    // Whoever had no answer asks again and learns of the same payment.
    let Ok(ChargeOutcome::Succeeded { payment_id, .. }) = stripe.charge(&request).await else {
        panic!("not paid");
    };
    assert_eq!(intents[0]["id"], payment_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_parallel_pays_take_the_money_once() {
    let Some(fake) = Fake::found() else { return };
    let app = start(&fake.url).await;
    let id = app.open_invoice().await;
    let pay = format!("{}/pay", path_of(&id));
    let pays = (0..100).map(|_| app.post(&pay, json!({"payment_method": "pm_card_visa"})));
    let answers = futures_util::future::join_all(pays).await;
    // One got through; on a slow day it is told that the payment is under way.
    let taken = answers.iter().filter(|answer| answer.status.is_success());
    assert_eq!(taken.count(), 1);
    paid_once(&app, &id).await;
    assert_eq!(fake.intents(&id).await.len(), 1);
}

#[tokio::test]
async fn yen_and_dinars_are_charged_in_stripes_units() {
    let Some(fake) = Fake::found() else { return };
    let app = start(&fake.url).await;
    for (currency, price, amount) in [("JPY", "595", 595), ("KWD", "5.12", 5_120)] {
        let id = issued(&app, currency, price, "1").await;
        let pay = format!("{}/pay", path_of(&id));
        app.post(&pay, json!({"payment_method": "pm_card_visa"}))
            .await
            .expect(200);
        paid_once(&app, &id).await;
        let intent = &fake.intents(&id).await[0];
        assert_eq!(intent["amount"], amount);
        assert_eq!(intent["currency"], currency.to_lowercase());
    }
    let id = issued(&app, "KWD", "5.124", "1").await;
    let pay = format!("{}/pay", path_of(&id));
    let refused = app
        .post(&pay, json!({"payment_method": "pm_card_visa"}))
        .await;
    let problem = refused.expect_problem(424, "provider_rejected");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("steps of 0.010"),
        "{problem}"
    );
    assert!(fake.intents(&id).await.is_empty());
}

#[tokio::test]
async fn replies_that_get_lost_still_end_in_one_payment() {
    let Some(fake) = Fake::found() else { return };
    let to_lose = AtomicUsize::new(3);
    let proxy = fake.behind(move |what, answer| {
        let one_less = |left: usize| left.checked_sub(1);
        let lost = what == "POST /v1/payment_intents"
            && to_lose
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok();
        (!lost).then_some(answer)
    });
    let app = start(&proxy.await).await;
    let id = app.open_invoice().await;
    let pay = format!("{}/pay", path_of(&id));
    let answer = app
        .post(&pay, json!({"payment_method": "pm_card_visa"}))
        .await;
    assert!(
        [200, 202].contains(&answer.status.as_u16()),
        "{}",
        answer.text()
    );
    paid_once(&app, &id).await;
    assert_eq!(fake.intents(&id).await.len(), 1);
}

#[tokio::test]
async fn what_is_sent_has_the_shape_that_stripes_own_mock_wants() {
    let Some(url) = backend("STRIPE_MOCK") else {
        return;
    };
    let stripe = provider(&url);
    stripe.ask().await.unwrap();
    let request = charge(Money::new(11_900, Currency::EUR));
    // The mock keeps no state: its payment stands where the specification's example does.
    let outcome = stripe.charge(&request).await;
    assert!(
        matches!(outcome, Ok(ChargeOutcome::Declined { .. })),
        "{outcome:?}"
    );
    let link = LinkRequest {
        effect: request.effect.clone(),
        organization: request.organization,
        invoice: request.invoice,
        amount: request.amount,
        description: request.description.clone(),
        return_url: "https://pay.example/i/token".to_owned(),
    };
    match stripe.create_link(&link).await {
        Ok(_) => {}
        // The example of a session has no page.
        Err(ProviderError::Rejected { detail }) if detail.contains("closed already") => {}
        other => panic!("{other:?}"),
    }
    stripe.expire_link("cs_1").await.unwrap();
    for kind in StripeProvider::EVENT_TYPES {
        let query = EventsQuery {
            kind,
            since: request.requested_at,
            after: Some("evt_1".to_owned()),
        };
        stripe.events(&query).await.unwrap();
    }
    // An old charge is looked for first.
    let mut old = request;
    old.requested_at = "2026-01-01T00:00:00Z".parse().unwrap();
    stripe.charge(&old).await.unwrap();
}
