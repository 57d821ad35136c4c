//! What is revoked at one node is revoked at all of them.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cluster::Setup;
use crate::site::{LOOK, PATIENCE, Site, text};
use crate::turn;

/// From the answer to the one who revokes, usually; and at most, on a machine that is busy with much else.
const AT_ONCE: Duration = Duration::from_millis(200);
const SOON: Duration = Duration::from_secs(1);
/// `auth.cache_ttl_s`: how long a node believes what it looked up, and hears nothing.
const UNTOLD: Duration = Duration::from_secs(5);
const EMAIL: &str = "grace@faktor.test";
const PASSWORD: &str = "another horse battery";

/// Waits until a bearer gets this status at each of the nodes; how long the last of them took.
async fn refused(site: &Site, nodes: &[usize], token: &str, path: &str, status: u16) -> Duration {
    let began = Instant::now();
    for &node in nodes {
        loop {
            let answer = site.call_as(token, node, Method::GET, path, None).await;
            if answer.status == status {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "node {node} lets it pass");
            sleep(Duration::from_millis(5)).await;
        }
    }
    began.elapsed()
}

/// So that each node has it in its cache.
async fn known(site: &Site, token: &str, path: &str) {
    for node in 0..3 {
        for _ in 0..2 {
            let answer = site.call_as(token, node, Method::GET, path, None).await;
            answer.expect(200);
        }
    }
}

fn assert_quick(what: &str, mut took: Vec<Duration>) {
    took.sort();
    assert!(took[took.len() / 2] < AT_ONCE, "{what}: {took:?}");
    assert!(took[took.len() - 1] < SOON, "{what}: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_at_one_node_is_refused_at_all() {
    let _turn = turn().await;
    let setup = Setup {
        has_wires: true,
        ..Setup::of(3)
    };
    let site = Site::start(setup).await;
    let everywhere = [0, 1, 2];
    let grace = json!({"first_name": "Grace", "last_name": "Hopper", "email": EMAIL,
                       "roles": ["accountant"], "password": PASSWORD});
    let made = site.post(0, "/v1/users", grace).await.expect(201);
    let user = format!("/v1/users/{}", text(&made, "/id"));

    let mut took = Vec::new();
    for round in 0..5 {
        let token = site.sign_in(round % 3, EMAIL, PASSWORD).await;
        known(&site, &token, "/v1/me").await;
        let by = (round + 1) % 3;
        let answer = site.call_as(&token, by, Method::POST, "/v1/auth/revoke", None);
        answer.await.expect(204);
        took.push(refused(&site, &everywhere, &token, "/v1/me", 401).await);
    }
    assert_quick("a session", took);

    let mut took = Vec::new();
    for round in 0..5 {
        let key = json!({"name": "shop", "roles": ["accountant"]});
        let key = site.post(round % 3, "/v1/api_keys", key).await.expect(201);
        let secret = text(&key, "/secret");
        known(&site, &secret, "/v1/me").await;
        let path = format!("/v1/api_keys/{}", text(&key, "/id"));
        let revoked = site.call((round + 2) % 3, Method::DELETE, &path, None);
        revoked.await.expect(204);
        took.push(refused(&site, &everywhere, &secret, "/v1/me", 401).await);
    }
    assert_quick("an API key", took);

    let mut took = Vec::new();
    let token = site.sign_in(0, EMAIL, PASSWORD).await;
    for round in 0..5 {
        known(&site, &token, "/v1/invoices").await;
        let roles = json!({"roles": []});
        site.patch(round % 3, &user, roles).await.expect(200);
        took.push(refused(&site, &everywhere, &token, "/v1/invoices", 403).await);
        let roles = json!({"roles": ["accountant"]});
        site.patch(round % 3, &user, roles).await.expect(200);
        refused(&site, &everywhere, &token, "/v1/invoices", 200).await;
    }
    assert_quick("a role", took);

    a_cut_wire_delays_it_by_no_more_than_what_a_node_believes(&site).await;
}

async fn a_cut_wire_delays_it_by_no_more_than_what_a_node_believes(site: &Site) {
    let token = site.sign_in(0, EMAIL, PASSWORD).await;
    known(site, &token, "/v1/me").await;
    site.cluster.cut(0, 1);
    let answer = site.call_as(&token, 0, Method::POST, "/v1/auth/revoke", None);
    answer.await.expect(204);
    let told = refused(site, &[0, 2], &token, "/v1/me", 401).await;
    assert!(told < SOON, "the one that could be told took {told:?}");
    let untold = told + refused(site, &[1], &token, "/v1/me", 401).await;
    assert!(untold < UNTOLD + SOON, "{untold:?}");
    site.cluster.mend();

    // A node that was cut off does not go on to believe what it learned before, once it hears again.
    site.settled().await;
    sleep(LOOK).await;
    let token = site.sign_in(0, EMAIL, PASSWORD).await;
    known(site, &token, "/v1/me").await;
    let answer = site.call_as(&token, 0, Method::POST, "/v1/auth/revoke", None);
    answer.await.expect(204);
    let again = refused(site, &[0, 1, 2], &token, "/v1/me", 401).await;
    assert!(again < SOON, "after the cut: {again:?}");
}
