//! An OpenID Connect issuer, the people whom it vouches for, and strangers.

use faktor::clock::Clock;
use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::issuer::{self, TestIssuer};
use crate::support::fault_proxy::{FaultProxy, host_of};
use crate::support::{Answer, EMAIL, TestApp};

/// Known to the node from its start.
const KNOWN_KEY: &str = "known";
/// Published while the issuer can't be reached.
const NEW_KEY: &str = "new";
/// Longer than a test.
const TOKEN_TTL_S: i64 = 3_600;
/// How many strangers come at a time.
const STRANGERS: usize = 50;
/// The node asks once a minute for keys that it does not know.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct SignOn {
    pub(crate) issuer: TestIssuer,
}

impl SignOn {
    /// An issuer that goes by its proxy's name, as its tokens do.
    pub(crate) async fn behind_a_proxy() -> (Self, FaultProxy) {
        let mut proxy = None;
        let issuer = TestIssuer::start_as(async |own| {
            let before = FaultProxy::before(host_of(own)).await;
            proxy.insert(before).url(own)
        });
        let issuer = issuer.await;
        issuer.publish(Algorithm::EdDSA, KNOWN_KEY);
        (Self { issuer }, proxy.expect("a proxy"))
    }

    /// A token of the administrator, unlike all others.
    pub(crate) fn token(&self, number: usize) -> String {
        self.token_by(KNOWN_KEY, number)
    }

    fn token_by(&self, key: &str, number: usize) -> String {
        let claims = json!({
            "sub": "ada", "email": EMAIL, "email_verified": true, "jti": number,
            "realm_access": {"roles": ["administrator"]},
            "exp": Clock::System.now().as_second() + TOKEN_TTL_S,
        });
        self.issuer.token(key, &claims)
    }

    /// A good token's claims under the name of a key that the issuer never had.
    fn strangers_token(&self, number: usize) -> String {
        let token = self.token(number);
        let (_, rest) = token.split_once('.').expect("a token");
        let header = json!({"alg": "EdDSA", "kid": format!("invented-{number}")});
        format!("{}.{rest}", issuer::header(&header))
    }

    /// Nobody comes in whose key can't be asked for, not even one who may be good; and what is known
    /// to be wrong is not forgiven.
    pub(crate) async fn nothing_opens_while_it_is_away(&self, app: &TestApp) {
        for number in 0..STRANGERS {
            let answer = with(app, &self.strangers_token(number)).await;
            assert_to_come_again(&answer);
        }
        self.issuer.publish(Algorithm::EdDSA, NEW_KEY);
        assert_to_come_again(&with(app, &self.token_by(NEW_KEY, 0)).await);
        let mut forged = self.token(0);
        forged.truncate(forged.rfind('.').expect("a token") + 1);
        forged.push_str(&"A".repeat(86));
        with(app, &forged)
            .await
            .expect_problem(401, "unauthenticated");
    }

    /// Those with known keys cost the issuer no question; the new key is found; strangers are
    /// strangers.
    pub(crate) async fn is_asked_again_when_it_is_back(&self, app: &TestApp) {
        let token = self.token_by(NEW_KEY, 1);
        let deadline = Instant::now() + PATIENCE;
        while with(app, &token).await.status != 200 {
            assert!(Instant::now() < deadline, "the new key was not found");
            sleep(Duration::from_millis(500)).await;
        }
        for number in 0..STRANGERS {
            let answer = with(app, &self.strangers_token(number)).await;
            answer.expect_problem(401, "unauthenticated");
        }
        // At the start, and for the new key.
        assert_eq!(self.issuer.asked_for_keys(), 2);
    }
}

async fn with(app: &TestApp, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    app.call(Method::GET, "/v1/me", None, &headers).await
}

#[track_caller]
fn assert_to_come_again(answer: &Answer) {
    let problem: Value = answer.expect(503);
    assert_ne!(answer.header("retry-after"), "", "{problem}");
}
