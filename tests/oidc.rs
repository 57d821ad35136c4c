//! Tokens of an OpenID Connect issuer: one of our own making for what a real one never does, and a
//! real Keycloak.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it can't go on"
)]

#[path = "oidc/issuer.rs"]
mod issuer;
mod support;

use faktor::app::{App, StartError};
use faktor::clock::Clock;
use faktor::config::Config;
use futures_util::future::join_all;
use issuer::{AUDIENCE, TestIssuer};
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use support::backends::backend;
use support::{Answer, EMAIL, PASSWORD, TestApp, config};

fn trusting(issuer: &str) -> impl FnOnce(&mut Config) {
    let issuer = issuer.to_owned();
    move |config| {
        config.oidc.issuer = issuer;
        AUDIENCE.clone_into(&mut config.oidc.audience);
    }
}

async fn with_token(app: &TestApp, token: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    app.call(reqwest::Method::GET, path, None, &headers).await
}

/// Claims of the administrator that every test node has, good for a minute.
fn ada() -> Value {
    json!({"sub": "ada", "email": EMAIL, "email_verified": true,
        "realm_access": {"roles": ["administrator", "offline_access"]}})
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// The same signature but for its first character.
fn altered(signature: &str) -> String {
    let first = if signature.starts_with('A') { "B" } else { "A" };
    format!("{first}{}", &signature[1..])
}

/// A node whose one organization takes the issuer's users.
async fn with_organization(issuer: &str, create_users: bool) -> (TestApp, String) {
    let TestApp {
        app,
        dir,
        token,
        base,
        client,
        ..
    } = TestApp::start().await;
    let me = client
        .get(format!("{base}/v1/me"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    let me: Value = me.json().await.unwrap();
    let organization = me["organization"]["id"].as_str().unwrap().to_owned();
    app.stop().await;
    let mut config = config(&dir);
    trusting(issuer)(&mut config);
    config.oidc.organization.clone_from(&organization);
    config.oidc.create_users = create_users;
    let app = TestApp::start_in(dir, config, Clock::System).await;
    (app, organization)
}

#[tokio::test]
async fn each_algorithm_is_taken_and_the_tokens_roles_decide() {
    let issuer = TestIssuer::start().await;
    let app = TestApp::start_with(trusting(&issuer.url)).await;
    let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    for algorithm in algorithms {
        issuer.publish(algorithm, &format!("{algorithm:?}"));
    }
    for algorithm in algorithms {
        let token = issuer.token(&format!("{algorithm:?}"), &ada());
        let me = with_token(&app, &token, "/v1/me").await.expect(200);
        assert_eq!(me["user"]["email"], EMAIL, "{algorithm:?}");
        assert_eq!(me["roles"], json!(["administrator"]), "{algorithm:?}");
    }
    let accountant = with(ada(), "realm_access", json!({"roles": ["accountant"]}));
    let token = issuer.token("EdDSA", &accountant);
    with_token(&app, &token, "/v1/invoices").await.expect(200);
    with_token(&app, &token, "/v1/users")
        .await
        .expect_problem(403, "forbidden");
    let nobody = with(ada(), "realm_access", json!({"roles": ["offline_access"]}));
    let token = issuer.token("EdDSA", &nobody);
    with_token(&app, &token, "/v1/me").await.expect(200);
    with_token(&app, &token, "/v1/invoices")
        .await
        .expect_problem(403, "forbidden");
    app.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said_and_it_opens_nothing() {
    let issuer = TestIssuer::start().await;
    issuer.publish(Algorithm::ES256, "es");
    issuer.publish(Algorithm::EdDSA, "ed");
    let app = TestApp::start_with(trusting(&issuer.url)).await;
    let now = issuer::now_s();
    let good = issuer.token("es", &ada());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = head.split_once('.').unwrap();
    let refused = [
        (
            issuer.token("es", &with(ada(), "aud", json!("other"))),
            "audience",
        ),
        (
            issuer.token("es", &with(ada(), "exp", json!(now - 1))),
            "expired",
        ),
        (
            issuer.token("es", &with(ada(), "nbf", json!(now + 120))),
            "not good yet",
        ),
        (
            issuer.token("es", &with(ada(), "typ", json!("ID"))),
            "not an access token",
        ),
        (
            issuer.token("es", &with(ada(), "email_verified", json!(false))),
            "verified",
        ),
        (
            issuer.token("es", &with(ada(), "email", json!("eve@else.test"))),
            "administrator can add",
        ),
        (
            issuer.token("es", &with(ada(), "iss", json!("https://else.test"))),
            "not a valid",
        ),
        // One key's signature under another one's name, another algorithm, none at all.
        (
            format!(
                "{}.{claims}.{signature}",
                issuer::header(&json!({"alg": "ES256", "kid": "ed"}))
            ),
            "algorithm",
        ),
        (
            format!(
                "{}.{claims}.{signature}",
                issuer::header(&json!({"alg": "EdDSA", "kid": "es"}))
            ),
            "algorithm",
        ),
        (issuer.signed_with_the_public_key("es", &ada()), "algorithm"),
        (
            format!(
                "{}.{claims}.",
                issuer::header(&json!({"alg": "none", "kid": "es"}))
            ),
            "not a token",
        ),
        (
            format!("{header}.{claims}.{}", altered(signature)),
            "signature",
        ),
        (
            format!(
                "{}.{claims}.{signature}",
                issuer::header(&json!({"alg": "ES256", "kid": "es", "crit": ["b64"]}))
            ),
            "extension",
        ),
        (
            format!(
                "{}.{claims}.{signature}",
                issuer::header(&json!({"alg": "ES256"}))
            ),
            "name its key",
        ),
    ];
    with_token(&app, &good, "/v1/me").await.expect(200);
    for (token, why) in refused {
        let problem = with_token(&app, &token, "/v1/me")
            .await
            .expect_problem(401, "unauthenticated");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{why}: {detail}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_new_key_is_found_and_a_thousand_invented_ones_cost_one_question() {
    let issuer = TestIssuer::start().await;
    issuer.publish(Algorithm::EdDSA, "old");
    let app = TestApp::start_with(trusting(&issuer.url)).await;
    issuer.publish(Algorithm::EdDSA, "new");
    let asked = issuer.asked_for_keys();
    let token = issuer.token("new", &ada());
    // Many at once: all wait for the one answer.
    let answers = join_all((0..20).map(|n| {
        let token = issuer.token("new", &with(ada(), "jti", json!(n)));
        let app = &app;
        async move { with_token(app, &token, "/v1/me").await.status.as_u16() }
    }));
    assert_eq!(answers.await, [200; 20]);
    assert_eq!(issuer.asked_for_keys(), asked + 1);
    for n in 0..1_000 {
        let (_, rest) = token.split_once('.').unwrap();
        let invented = issuer::header(&json!({"alg": "EdDSA", "kid": format!("k{n}")}));
        let answer = with_token(&app, &format!("{invented}.{rest}"), "/v1/me").await;
        assert_eq!(answer.status.as_u16(), 401);
    }
    assert_eq!(issuer.asked_for_keys(), asked + 1);
    app.stop().await;
}

#[tokio::test]
async fn a_checked_token_is_not_remembered_beyond_its_end() {
    let issuer = TestIssuer::start().await;
    issuer.publish(Algorithm::EdDSA, "ed");
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    trusting(&issuer.url)(&mut config);
    let start = Timestamp::from_second(issuer::now_s()).unwrap();
    let clock = Clock::manual(start);
    let app = TestApp::start_in(dir, config, clock.clone()).await;
    let exp = start.as_second() + 2;
    let token = issuer.token("ed", &with(ada(), "exp", json!(exp)));
    with_token(&app, &token, "/v1/me").await.expect(200);
    clock.advance_ms(1_999);
    with_token(&app, &token, "/v1/me").await.expect(200);
    clock.advance_ms(1);
    let problem = with_token(&app, &token, "/v1/me")
        .await
        .expect_problem(401, "unauthenticated");
    assert!(problem["detail"].as_str().unwrap().contains("expired"));
    app.stop().await;
}

#[tokio::test]
async fn a_user_is_made_on_first_sight_once_and_only_where_that_is_allowed() {
    let issuer = TestIssuer::start().await;
    issuer.publish(Algorithm::EdDSA, "ed");
    let (app, organization) = Box::pin(with_organization(&issuer.url, true)).await;
    let bob = json!({"sub": "bob", "email": "Bob@Else.test", "email_verified": true,
        "given_name": "Bob", "family_name": "Müller", "realm_access": {"roles": ["accountant"]}});
    let many = join_all((0..20).map(|n| {
        let token = issuer.token("ed", &with(bob.clone(), "jti", json!(n)));
        let app = &app;
        async move { with_token(app, &token, "/v1/me").await.expect(200) }
    }));
    let ids: std::collections::HashSet<_> = many
        .await
        .iter()
        .map(|me| me["user"]["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1);
    let users = app.get("/v1/users").await.expect(200);
    let made: Vec<_> = users["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|user| user["email"] == "bob@else.test")
        .collect();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["first_name"], "Bob");
    assert_eq!(made[0]["last_name"], "Müller");
    // The same person with a new address is the same user; an API login has no password to guess.
    let renamed = with(bob.clone(), "email", json!("robert@else.test"));
    let me = with_token(&app, &issuer.token("ed", &renamed), "/v1/me")
        .await
        .expect(200);
    assert_eq!(me["user"]["email"], "bob@else.test");
    let login = json!({"email": "bob@else.test", "password": ""});
    assert!(
        app.post("/v1/auth/token", login)
            .await
            .status
            .is_client_error()
    );
    // Without a verified address nobody is made.
    let eve = json!({"sub": "eve", "email": "eve@else.test", "realm_access": {"roles": ["administrator"]}});
    let problem = with_token(&app, &issuer.token("ed", &eve), "/v1/me")
        .await
        .expect(401);
    assert!(problem["detail"].as_str().unwrap().contains("verified"));
    assert!(!organization.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn signing_out_is_the_issuers_business() {
    let issuer = TestIssuer::start().await;
    issuer.publish(Algorithm::EdDSA, "ed");
    let app = TestApp::start_with(trusting(&issuer.url)).await;
    let bearer = format!("Bearer {}", issuer.token("ed", &ada()));
    let headers = [("authorization", bearer.as_str())];
    let answer = app
        .call(reqwest::Method::POST, "/v1/auth/revoke", None, &headers)
        .await;
    let problem = answer.expect_problem(409, "no_session");
    assert!(
        problem["detail"].as_str().unwrap().contains("issuer"),
        "{problem}"
    );
    app.stop().await;
}

#[tokio::test]
async fn while_the_issuer_is_away_known_keys_work_and_local_logins_too() {
    let issuer = TestIssuer::start().await;
    issuer.publish(Algorithm::EdDSA, "ed");
    let app = TestApp::start_with(trusting(&issuer.url)).await;
    issuer.go_away();
    with_token(&app, &issuer.token("ed", &ada()), "/v1/me")
        .await
        .expect(200);
    app.sign_in(EMAIL, PASSWORD).await;
    issuer.publish(Algorithm::EdDSA, "new");
    // It may be good: the client is to come again, not to sign in anew.
    with_token(&app, &issuer.token("new", &ada()), "/v1/me")
        .await
        .expect(503);
    app.get("/health/readiness").await.expect(200);
    app.stop().await;
}

#[tokio::test]
async fn an_issuer_that_can_not_be_used_ends_the_start_with_a_line_that_names_it() {
    for (path, why) in [
        ("/nowhere", "404"),
        ("/other", "calls itself"),
        ("/huge", "more than"),
    ] {
        let issuer = TestIssuer::start().await;
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir);
        let url = format!("{}{path}", issuer.url);
        trusting(&url)(&mut config);
        config.server.start_timeout_s = 1;
        let Err(StartError::Backends(errors)) = App::start(config, Clock::System).await else {
            panic!("it started");
        };
        let text = errors.to_string();
        assert!(
            text.contains(&format!("identity (OpenID Connect) at {url}: ")),
            "{text}"
        );
        assert!(text.contains(why), "{text}");
    }
}

/// A token from Keycloak's token endpoint: `kind` is `access_token`, `id_token` or `refresh_token`.
async fn from_keycloak(issuer: &str, form: &[(&str, &str)], kind: &str) -> String {
    let url = format!("{issuer}/protocol/openid-connect/token");
    let mut all = vec![
        ("client_id", "faktor-api"),
        ("client_secret", "faktor-api-secret"),
        ("scope", "openid"),
    ];
    all.extend(form);
    let answer = reqwest::Client::new()
        .post(url)
        .form(&all)
        .send()
        .await
        .unwrap();
    let tokens: Value = answer.json().await.unwrap();
    tokens[kind]
        .as_str()
        .unwrap_or_else(|| panic!("no {kind} in {tokens}"))
        .to_owned()
}

#[tokio::test]
async fn a_real_keycloak_signs_people_in() {
    let Some(keycloak) = backend("KEYCLOAK") else {
        return;
    };
    let (app, _) = Box::pin(with_organization(&keycloak, true)).await;
    let person = |name, password| {
        [
            ("grant_type", "password"),
            ("username", name),
            ("password", password),
        ]
    };
    let admin = person("admin@faktor.test", "admin-password");
    let token = from_keycloak(&keycloak, &admin, "access_token").await;
    let me = with_token(&app, &token, "/v1/me").await.expect(200);
    assert_eq!(me["roles"], json!(["administrator"]));
    with_token(&app, &token, "/v1/users").await.expect(200);

    let accountant = person("accountant@faktor.test", "accountant-password");
    let token = from_keycloak(&keycloak, &accountant, "access_token").await;
    let me = with_token(&app, &token, "/v1/me").await.expect(200);
    assert_eq!(
        (&me["user"]["first_name"], &me["roles"]),
        (&json!("Alan"), &json!(["accountant"]))
    );
    with_token(&app, &token, "/v1/users")
        .await
        .expect_problem(403, "forbidden");

    for (kind, form) in [
        ("id_token", admin.to_vec()),
        ("refresh_token", admin.to_vec()),
        // A program has no e-mail address, and API keys for the purpose.
        ("access_token", vec![("grant_type", "client_credentials")]),
    ] {
        let token = from_keycloak(&keycloak, &form, kind).await;
        with_token(&app, &token, "/v1/me")
            .await
            .expect_problem(401, "unauthenticated");
    }
    app.stop().await;
}
