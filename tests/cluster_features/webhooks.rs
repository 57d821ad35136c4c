//! What a provider tells any node reaches its invoice, once.

use std::time::Duration;

use faktor::clock::Clock;
use faktor::cluster::placement::desired_owner;
use faktor::outbound::payment::sandbox::SandboxProvider;
use faktor::store::ShardId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::time::{Instant, sleep};

use crate::cluster::Setup;
use crate::site::Site;
use crate::turn;

const SECRET: &str = "whsec_of_the_test_and_long_enough";
/// From the provider's request to the payment at any node.
const SOON: Duration = Duration::from_secs(2);
/// With the death of the node that took it in between: the others wait two seconds for it.
const AFTER_A_DEATH: Duration = Duration::from_secs(10);

fn paid(event: &str, invoice: &str) -> Value {
    json!({"id": event, "type": "payment_intent.succeeded", "data": {"object": {
        "id": format!("pi_{event}"), "amount": 11_900, "currency": "eur",
        "metadata": {"invoice": invoice}}}})
}

/// Tells a node as the provider does; none when it died meanwhile.
async fn tell(site: &Site, node: usize, event: &Value) -> Option<u16> {
    let body = event.to_string();
    let at = Clock::System.now().as_second();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(format!("{at}.{body}").as_bytes());
    let signature = format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()));
    let request = site
        .http
        .post(format!("{}/v1/webhooks/sandbox", site.base(node)))
        .header(SandboxProvider::SIGNATURE_HEADER, signature)
        .body(body);
    request
        .send()
        .await
        .ok()
        .map(|answer| answer.status().as_u16())
}

async fn assert_paid_once(site: &Site, node: usize, id: &str) {
    let kinds = site.kinds(node, id).await;
    for kind in ["invoice.payment_succeeded", "invoice.paid"] {
        let count = kinds.iter().filter(|told| *told == kind).count();
        assert_eq!(count, 1, "{kind} of {id}: {kinds:?}");
    }
    assert_eq!(site.invoice(node, id).await["totals"]["paid"], "119.00");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_at_any_node_is_one_payment_and_outlives_the_node_that_took_it() {
    let _turn = turn().await;
    let names = ["n1", "n2", "n3"];
    // The one that looks after what others left, and another one.
    let chores = desired_owner(ShardId(0), names).expect("an owner");
    let chores = names.iter().position(|name| *name == chores).expect("it");
    let other = (chores + 1) % 3;
    let mut site = Site::start_with(Setup::of(3), |nodes| {
        for node in nodes {
            node.set("FAKTOR__PAYMENTS__WEBHOOK_SECRET", SECRET);
        }
    })
    .await;

    for owner in 0..3 {
        for told in 0..3 {
            let id = site.open_invoice(owner).await;
            assert_eq!(site.owner(&id).await, owner);
            let event = paid(&format!("evt_{owner}{told}"), &id);
            let began = Instant::now();
            assert_eq!(tell(&site, told, &event).await, Some(200));
            let shown = (told + 1) % 3;
            let is_paid = |invoice: &Value| invoice["status"] == "paid";
            site.until(shown, &id, SOON, is_paid).await;
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
            // Providers repeat themselves, to whom they like.
            for again in 0..3 {
                assert_eq!(tell(&site, again, &event).await, Some(200));
            }
            sleep(Duration::from_millis(50)).await;
            assert_paid_once(&site, shown, &id).await;
        }
    }

    for victim in [other, chores] {
        site.cluster.stop(victim).await;
        site.cluster.nodes[victim].set("FAKTOR_CRASH_AT", "after_inbox:receive");
        site.cluster.start_nodes(&[victim]).await;
        site.settled().await;
        for owner in [(victim + 1) % 3, victim] {
            let survivor = (victim + 2) % 3;
            let id = site.open_invoice(owner).await;
            let event = paid(&format!("evt_killed_{victim}{owner}"), &id);
            assert_eq!(tell(&site, victim, &event).await, None, "it lives");
            site.cluster.kill(victim);
            let is_paid = |invoice: &Value| invoice["status"] == "paid";
            site.until(survivor, &id, AFTER_A_DEATH, is_paid).await;
            assert_eq!(tell(&site, survivor, &event).await, Some(200));
            assert_paid_once(&site, survivor, &id).await;
            site.cluster.start_nodes(&[victim]).await;
            site.settled().await;
        }
        site.cluster.stop(victim).await;
        site.cluster.nodes[victim].set("FAKTOR_CRASH_AT", "");
        site.cluster.start_nodes(&[victim]).await;
        site.settled().await;
    }
}
