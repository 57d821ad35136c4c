//! `/v1/auth` and `/v1/me`.

use std::fs;

use serde_json::json;

use super::edge::{EMAIL, Edge, PASSWORD, START, edge, edge_with};

async fn refresh(edge: &Edge, refresh_token: &str) -> super::edge::Answer {
    let body = json!({"refresh_token": refresh_token});
    edge.send("", "POST", "/v1/auth/token", Some(body), &[])
        .await
}

#[tokio::test]
async fn a_login_answers_as_the_contract_says() {
    let edge = edge().await;
    let answer = edge.login(EMAIL, PASSWORD).await;
    let tokens = answer.expect(200);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 900);
    assert!(tokens["access_token"].is_string() && tokens["refresh_token"].is_string());
    assert_eq!(answer.header("cache-control"), "no-store");

    let me = edge
        .me(tokens["access_token"].as_str().unwrap())
        .await
        .expect(200);
    assert_eq!(me["user"]["email"], EMAIL);
    assert_eq!(me["organization"]["legal_name"], "Ada GmbH");
    assert_eq!(me["roles"], json!(["administrator"]));
    assert_eq!(me["permissions"].as_array().unwrap().len(), 21);
    assert_eq!(me["api_key"], json!(null));
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_get_the_same_401() {
    let edge = edge().await;
    let mut unknown = edge
        .login("eve@example.com", PASSWORD)
        .await
        .refused(401, "unauthenticated");
    let mut wrong = edge
        .login(EMAIL, "wrong horse battery")
        .await
        .refused(401, "unauthenticated");
    unknown["request_id"].take();
    wrong["request_id"].take();
    assert_eq!(unknown, wrong);
}

#[tokio::test]
async fn a_token_request_says_what_it_wants() {
    let edge = edge().await;
    for (body, status, code) in [
        (json!({}), 422, "unclear_grant"),
        (json!({"email": EMAIL}), 422, "unclear_grant"),
        (
            json!({"email": EMAIL, "password": PASSWORD, "refresh_token": "x"}),
            422,
            "unclear_grant",
        ),
        (
            json!({"email": 7, "password": PASSWORD}),
            400,
            "invalid_type",
        ),
        (json!({"user": EMAIL}), 400, "unknown_field"),
        (json!([EMAIL, PASSWORD]), 400, "invalid_type"),
    ] {
        edge.send("", "POST", "/v1/auth/token", Some(body), &[])
            .await
            .refused(status, code);
    }
}

#[tokio::test]
async fn requests_without_good_credentials_get_401_with_a_challenge() {
    let edge = edge().await;
    for token in ["", "nonsense", "fk_0000", "a.b.c"] {
        let answer = edge.me(token).await;
        answer.refused(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let basic = [("authorization", "Basic YWRhOmFkYQ==")];
    edge.send("", "GET", "/v1/me", None, &basic)
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_revoked_token_dies_at_once() {
    let edge = edge().await;
    let other = edge.sign_in(EMAIL).await;
    edge.me(&edge.token).await.expect(200);
    edge.send(&edge.token, "POST", "/v1/auth/revoke", None, &[])
        .await
        .expect(204);
    edge.me(&edge.token).await.refused(401, "unauthenticated");
    edge.me(&other).await.expect(200);
}

#[tokio::test]
async fn envoice_defect_the_cached_token_ignores_expiry_and_revocation() {
    let edge = edge().await;
    edge.later_s(899);
    edge.me(&edge.token).await.expect(200);
    edge.later_s(1);
    let problem = edge.me(&edge.token).await.refused(401, "unauthenticated");
    assert_eq!(problem["detail"], "the access token has expired");
}

#[tokio::test]
async fn using_a_refresh_token_twice_ends_the_whole_chain() {
    let edge = edge().await;
    let first = edge.login(EMAIL, PASSWORD).await.expect(200);
    let first_refresh = first["refresh_token"].as_str().unwrap();
    let second = refresh(&edge, first_refresh).await.expect(200);
    let access = second["access_token"].as_str().unwrap();
    edge.me(access).await.expect(200);

    refresh(&edge, first_refresh)
        .await
        .refused(401, "unauthenticated");
    let second_refresh = second["refresh_token"].as_str().unwrap();
    refresh(&edge, second_refresh)
        .await
        .refused(401, "unauthenticated");
    edge.me(access).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_refresh_token_used_by_two_at_once_goes_to_one_of_them() {
    let edge = edge().await;
    let tokens = edge.login(EMAIL, PASSWORD).await.expect(200);
    let token = tokens["refresh_token"].as_str().unwrap();
    let (a, b) = tokio::join!(refresh(&edge, token), refresh(&edge, token));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
}

#[tokio::test]
async fn after_too_many_failed_logins_an_address_waits_with_retry_after() {
    let edge = edge_with(|config| config.auth.max_failed_logins = 3).await;
    for _ in 0..3 {
        edge.login(EMAIL, "wrong horse battery")
            .await
            .refused(401, "unauthenticated");
    }
    let answer = edge.login(EMAIL, PASSWORD).await;
    answer.refused(429, "too_many_requests");
    assert_eq!(answer.header("retry-after"), "900");
    edge.me(&edge.token).await.expect(200);
    edge.later_s(900);
    edge.login(EMAIL, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_login_storm_gets_429_while_authenticated_reads_go_on() {
    let edge = edge_with(|config| config.pools.auth_queue = 2).await;
    let storm = futures_util::future::join_all((0..40).map(|n| {
        let edge = &edge;
        async move { edge.login(&format!("eve{n}@example.com"), "x").await }
    }));
    let reads = async {
        for _ in 0..200 {
            edge.me(&edge.token).await.expect(200);
            tokio::task::yield_now().await;
        }
    };
    let (storm, ()) = tokio::join!(storm, reads);
    let throttled: Vec<_> = storm.iter().filter(|answer| answer.status == 429).collect();
    assert!(
        throttled.len() >= 30,
        "{} of 40 were throttled",
        throttled.len()
    );
    assert!(
        throttled
            .iter()
            .all(|answer| matches!(answer.header("retry-after"), "1" | "2" | "3" | "4"))
    );
    assert!(
        storm
            .iter()
            .all(|answer| [401, 429].contains(&answer.status.as_u16()))
    );
    edge.login(EMAIL, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn callers_change_their_own_password_and_all_their_sessions_end() {
    let edge = edge().await;
    let (_, token) = edge.user("bob@example.com", &["accountant"]).await;
    let change = async |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        edge.send(&token, "PUT", "/v1/me/password", Some(body), &[])
            .await
    };
    let wrong = change("wrong horse battery", "another horse battery").await;
    assert_eq!(
        wrong.refused(422, "wrong_password")["param"],
        "current_password"
    );
    change(PASSWORD, "short").await.refused(422, "too_short");
    change(PASSWORD, "another horse battery").await.expect(204);
    edge.me(&token).await.refused(401, "unauthenticated");
    edge.login("bob@example.com", PASSWORD)
        .await
        .refused(401, "unauthenticated");
    edge.login("bob@example.com", "another horse battery")
        .await
        .expect(200);

    let (_, key) = edge.api_key(&["accountant"]).await;
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    let answer = edge
        .send(&key, "PUT", "/v1/me/password", Some(body), &[])
        .await;
    answer.refused(409, "no_password");
    edge.send(&key, "POST", "/v1/auth/revoke", None, &[])
        .await
        .refused(409, "no_session");
}

#[tokio::test]
async fn invoice_generator_defect_plain_text_passwords() {
    let edge = edge().await;
    let tokens = edge.login(EMAIL, PASSWORD).await.expect(200);
    let (_, secret) = edge.api_key(&["accountant"]).await;
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let mut files = 0;
    for entry in fs::read_dir(edge.folder.path())
        .unwrap()
        .filter_map(Result::ok)
    {
        let Ok(bytes) = fs::read(entry.path()) else {
            continue;
        };
        files += 1;
        for secret in [PASSWORD, refresh_token, secret.as_str()] {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{:?} holds a secret", entry.path());
        }
    }
    assert!(files > 0, "the database was looked at");
}

#[tokio::test]
async fn a_session_ends_in_another_process_within_the_cache_time() {
    let edge = edge().await;
    let tokens = edge.login(EMAIL, PASSWORD).await.expect(200);
    let token = tokens["access_token"].as_str().unwrap();
    let caller = edge.services.auth.authenticate(token).await.unwrap();
    let identity = &edge.services.stores.identity;
    identity
        .revoke_session(caller.session.unwrap(), START)
        .await
        .unwrap();
    edge.me(token).await.expect(200);
    edge.later_s(5);
    edge.me(token).await.refused(401, "unauthenticated");
}
