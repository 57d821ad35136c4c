//! What happened: the organization's feed and one invoice's stream.

use reqwest::Method;
use serde_json::{Value, json};

use crate::path_of;
use crate::support::TestApp;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    id: u64,
    kind: String,
    data: Value,
}

struct Stream {
    answer: reqwest::Response,
    read: String,
}

impl Stream {
    async fn open(app: &TestApp, token: &str, id: &str, last: Option<u64>) -> Self {
        let url = format!("{}{}/events", app.base, path_of(id));
        let mut request = app.client.get(url).bearer_auth(token);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            answer,
            read: String::new(),
        }
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|text| text.trim_start().to_owned())
                };
                let told = field("data:").map(|data| Told {
                    id: field("id:").unwrap().parse().unwrap(),
                    kind: field("event:").unwrap(),
                    data: serde_json::from_str(&data).unwrap(),
                });
                let rest = rest.to_owned();
                self.read = rest;
                match told {
                    Some(told) => return Some(told),
                    None => continue,
                }
            }
            let chunk = self.answer.chunk().await.unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn until(&mut self, kind: &str) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            told.push(self.next().await.expect("another event"));
            if told.last().unwrap().kind == kind {
                return told;
            }
        }
    }
}

#[tokio::test]
async fn a_stream_resumes_at_every_event_without_a_hole_or_a_double() {
    let app = TestApp::start().await;
    let id = app.draft().await;
    let mut live = Stream::open(&app, &app.token, &id, None).await;
    app.post(&format!("{}/send", path_of(&id)), json!({}))
        .await
        .expect(202);
    app.until(&id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent"
    })
    .await;
    let pay = json!({"payment_method": "pm_ok"});
    app.post(&format!("{}/pay", path_of(&id)), pay)
        .await
        .expect(200);
    let told = live.until("invoice.paid").await;
    let kinds: Vec<_> = told.iter().map(|event| event.kind.as_str()).collect();
    for kind in [
        "invoice.created",
        "invoice.finalized",
        "invoice.document_ready",
        "invoice.sent",
        "invoice.payment_succeeded",
        "invoice.paid",
    ] {
        assert_eq!(
            kinds.iter().filter(|told| **told == kind).count(),
            1,
            "{kind} in {kinds:?}"
        );
    }
    for event in &told {
        assert_eq!(event.data["type"], event.kind);
        assert_eq!(event.data["subject"], json!(id));
        assert_eq!(event.data["specversion"], "1.0");
    }
    let sent = told
        .iter()
        .find(|event| event.kind == "invoice.sent")
        .unwrap();
    assert_eq!(sent.data["data"]["id"], json!(id), "{sent:?}");
    assert!(sent.data["data"]["payment_link"].is_string(), "{sent:?}");
    for at in 0..told.len() {
        // Events of one version come together: a reader goes on with the next version.
        let mut resumed = Stream::open(&app, &app.token, &id, Some(told[at].id)).await;
        let expected: Vec<_> = told
            .iter()
            .filter(|event| event.id > told[at].id)
            .cloned()
            .collect();
        if !expected.is_empty() {
            assert_eq!(resumed.until("invoice.paid").await, expected);
        }
    }
    let bad = [("last-event-id", "x")];
    let path = format!("{}/events", path_of(&id));
    app.call(Method::GET, &path, None, &bad)
        .await
        .expect_problem(400, "invalid_header");
}

#[tokio::test]
async fn a_stream_ends_when_its_readers_session_is_revoked() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    let token = app
        .sign_in(crate::support::EMAIL, crate::support::PASSWORD)
        .await;
    let mut stream = Stream::open(&app, &token, &id, None).await;
    stream.until("invoice.finalized").await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let revoked = app
        .call(Method::POST, "/v1/auth/revoke", None, &headers)
        .await;
    assert!(revoked.status.is_success(), "{}", revoked.text());
    app.post(&format!("{}/void", path_of(&id)), json!({}))
        .await
        .expect(200);
    let later = async {
        while let Some(event) = stream.next().await {
            assert_ne!(
                event.kind, "invoice.voided",
                "told to who may not know it any more"
            );
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), later)
        .await
        .expect("the stream ends");
}

#[tokio::test]
async fn a_reader_that_waits_is_not_told_what_happens_after_its_session_was_revoked() {
    let app = TestApp::start().await;
    let token = app
        .sign_in(crate::support::EMAIL, crate::support::PASSWORD)
        .await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let waiting = app.call(Method::GET, "/v1/events?wait=20", None, &headers);
    let revoking = async {
        let revoked = app
            .call(Method::POST, "/v1/auth/revoke", None, &headers)
            .await;
        assert!(revoked.status.is_success(), "{}", revoked.text());
        app.open_invoice().await;
    };
    let (answer, ()) = tokio::join!(waiting, revoking);
    assert_eq!(answer.status, 401, "{}", answer.text());
}

#[tokio::test]
async fn the_feed_goes_on_after_any_event_and_waits_for_the_next() {
    let app = TestApp::start().await;
    let first = app.open_invoice().await;
    let mut seen: Vec<Value> = Vec::new();
    let mut after = String::new();
    while seen.len() < 2 {
        let page = app
            .get(&format!("/v1/events?limit=1&wait=10{after}"))
            .await
            .expect(200);
        seen.extend(page["data"].as_array().unwrap().iter().cloned());
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
    let kinds: Vec<_> = seen
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["invoice.created", "invoice.finalized"]);
    assert_eq!(seen[0]["subject"], json!(first));
    for field in ["id", "source", "time", "datacontenttype", "data"] {
        assert!(!seen[0][field].is_null(), "{field}");
    }
    // Document and link of the first come, too: go to the end.
    app.until(&first, "quiet", |invoice| invoice["pending"] == json!([]))
        .await;
    let wait_for = async |after: String, kind: &str| {
        let mut after = after;
        loop {
            let page = app
                .get(&format!("/v1/events?wait=10{after}"))
                .await
                .expect(200);
            let events = page["data"].as_array().unwrap();
            if events.iter().any(|event| event["type"] == kind) {
                return;
            }
            after = format!("&after={}", page["next"].as_str().unwrap());
        }
    };
    let path = format!("{}/void", path_of(&first));
    let void = async { app.post(&path, json!({})).await.expect(200) };
    tokio::join!(wait_for(after, "invoice.voided"), void);
    let unknown = "/v1/events?after=evt_00000000000000000000000000000007";
    let problem = app.get(unknown).await.expect_problem(400, "unknown_event");
    assert_eq!(problem["param"], "after");
    app.get("/v1/events?wait=31")
        .await
        .expect_problem(400, "out_of_range");
}

#[tokio::test]
async fn another_organizations_feed_has_nothing_of_ours() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    app.until(&id, "quiet", |invoice| invoice["pending"] == json!([]))
        .await;
    let ours = app.get("/v1/events?wait=10").await.expect(200);
    let stranger = format!("Bearer {}", crate::stranger(&app).await);
    let headers = [("authorization", stranger.as_str())];
    let theirs = app
        .call(Method::GET, "/v1/events", None, &headers)
        .await
        .expect(200);
    assert_eq!(theirs["data"], json!([]));
    let path = format!(
        "/v1/events?after={}",
        ours["data"][0]["id"].as_str().unwrap()
    );
    app.call(Method::GET, &path, None, &headers)
        .await
        .expect_problem(400, "unknown_event");
}
