//! A cluster in the middle of its upgrade: a real node of this version, and an [`OldNode`].

use faktor::domain::ids::OrganizationId;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::time::{Duration, sleep, timeout};

use crate::cluster::Setup;
use crate::old_node::{self, Heard, OldNode};
use crate::site::{Site, text};
use crate::version_1::{Question, Reply, Request};

const NEW_NODE: &str = "new";
const COOKIE: &str = "cookie-of-a-half-upgraded-cluster";
/// Its number among the site's nodes.
const AT_THE_NEW_NODE: usize = 0;

struct HalfUpgraded {
    site: Site,
    old: OldNode,
    organization: OrganizationId,
    user: String,
}

/// What the new node answers to its client.
#[derive(Debug)]
struct Answer {
    status: u16,
    etag: Option<String>,
    body: Value,
}

impl HalfUpgraded {
    /// Both nodes have their share of the shards.
    async fn start() -> Self {
        let site = Site::start_with(Setup::of(1), |nodes| {
            nodes[0].set("FAKTOR__CLUSTER__LISTEN", "127.0.0.1:0");
            nodes[0].set("FAKTOR__CLUSTER__NODE_NAME", NEW_NODE);
            nodes[0].set("FAKTOR__CLUSTER__COOKIE", COOKIE);
            nodes[0].set("FAKTOR__SERVER__DRAIN_TIMEOUT_S", "2");
        })
        .await;
        let old = OldNode::join(&site.cluster.data_dir(), COOKIE).await;
        site.shared_by(&[NEW_NODE, old_node::NAME]).await;
        let me = site.get(AT_THE_NEW_NODE, "/v1/me").await.expect(200);
        Self {
            organization: text(&me, "/organization/id").parse().unwrap(),
            user: text(&me, "/user/id"),
            site,
            old,
        }
    }

    /// The address of a draft that the old node has.
    async fn draft_of_the_old_node(&self) -> String {
        let id = self.old.keep_draft_of(self.organization).await;
        format!("/v1/invoices/{id}")
    }

    /// Asks the new node.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        if_match: Option<u64>,
    ) -> Answer {
        let url = format!("{}{path}", self.site.base(AT_THE_NEW_NODE));
        let request = self.site.http.request(method, url);
        let mut request = request.bearer_auth(&self.site.cluster.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        if let Some(version) = if_match {
            request = request.header("if-match", format!("\"{version}\""));
        }
        let answer = request.send().await.unwrap();
        let etag = answer.headers().get("etag");
        Answer {
            status: answer.status().as_u16(),
            etag: etag.map(|etag| etag.to_str().unwrap().to_owned()),
            body: answer.json().await.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await
    }

    async fn patch(&self, path: &str, body: Value, if_match: Option<u64>) -> Answer {
        self.call(Method::PATCH, path, Some(body), if_match).await
    }

    /// A command as a node of version 1 hands it on for a client of its own.
    fn execute(
        &self,
        id: &str,
        command: Value,
        key: &str,
        expected_version: Option<u64>,
    ) -> Question {
        Question::Execute {
            id: id.to_owned(),
            organization: Some(self.organization.to_string()),
            request: Box::new(Request {
                command,
                by: json!({"kind": "user", "id": self.user}),
                key: Some(json!({"key": key, "fingerprint": 0, "keep": false})),
                expected_version,
                request_id: "0192f0c1a2b37c1e8d5f6a7b8c9d0e1f".to_owned(),
            }),
        }
    }
}

/// The content with other values for some fields.
fn with(content: &Value, fields: &[(&str, &str)]) -> Value {
    let mut content = content.clone();
    for (field, value) in fields {
        content[*field] = json!(value);
    }
    content
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_nodes_draft_is_changed_and_read_at_a_new_node() {
    let cluster = HalfUpgraded::start().await;
    let draft = cluster.draft_of_the_old_node().await;
    let content = cluster.old.draft()["content"].clone();

    let memo = json!({"memo": "As agreed"});
    let changed = cluster.patch(&draft, memo, None).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.etag.as_deref(), Some("\"2\""));
    assert_eq!(changed.body["object"], "invoice");
    assert_eq!(changed.body["version"], 2);
    assert_eq!(changed.body["memo"], "As agreed");
    assert_eq!(changed.body["bill_to"]["name"], "Ada GmbH");
    assert_eq!(changed.body["lines"][0]["description"], "Consulting");
    let merged = with(&content, &[("memo", "As agreed")]);
    assert_eq!(cluster.old.draft()["content"], merged);
    // It heard what it can read, and nothing else.
    let mut heard = vec![Heard::READ, Heard::edit_of(1)];
    assert_eq!(cluster.old.heard(), heard);

    let read = cluster.get(&draft).await;
    assert_eq!(read.status, 200, "{}", read.body);
    assert_eq!(read.etag, changed.etag);
    assert_eq!(read.body, changed.body);
    heard.push(Heard::READ);
    assert_eq!(cluster.old.heard(), heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_overtaken_at_an_old_node_is_made_again_and_both_count() {
    let cluster = HalfUpgraded::start().await;
    let draft = cluster.draft_of_the_old_node().await;
    let content = cluster.old.draft()["content"].clone();
    cluster
        .old
        .change_after_a_read("reference", json!("Order 7"));

    let memo = json!({"memo": "As agreed"});
    let changed = cluster.patch(&draft, memo, None).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.etag.as_deref(), Some("\"3\""));
    assert_eq!(changed.body["memo"], "As agreed");
    assert_eq!(changed.body["reference"], "Order 7");
    let both = with(&content, &[("memo", "As agreed"), ("reference", "Order 7")]);
    assert_eq!(cluster.old.draft()["content"], both);
    let heard = [
        Heard::READ,
        Heard::edit_of(1),
        Heard::READ,
        Heard::edit_of(2),
    ];
    assert_eq!(cluster.old.heard(), heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_version_that_was_overtaken_at_an_old_node_overwrites_nothing() {
    let cluster = HalfUpgraded::start().await;
    let draft = cluster.draft_of_the_old_node().await;
    let content = cluster.old.draft()["content"].clone();
    cluster
        .old
        .change_after_a_read("reference", json!("Order 7"));

    // The first is overtaken on its way, the second comes too late.
    for _ in 0..2 {
        let memo = json!({"memo": "As agreed"});
        let refused = cluster.patch(&draft, memo, Some(1)).await;
        assert_eq!(refused.status, 412, "{}", refused.body);
        assert_eq!(refused.body["code"], "version_mismatch");
    }
    let overtaken = with(&content, &[("reference", "Order 7")]);
    assert_eq!(cluster.old.draft()["content"], overtaken);
    assert_eq!(cluster.old.draft()["version"], 2);
    let each = [Heard::READ, Heard::edit_of(1)];
    assert_eq!(cluster.old.heard(), [each.clone(), each].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_takes_an_old_nodes_word_that_a_draft_is_as_it_knows_it() {
    let cluster = HalfUpgraded::start().await;
    let draft = cluster.draft_of_the_old_node().await;
    let memo = json!({"memo": "As agreed"});
    let changed = cluster.patch(&draft, memo, None).await;
    assert_eq!(changed.status, 200, "{}", changed.body);

    // What can't be read is judged by the draft.
    let unreadable = json!({"currency": "no currency"});
    let refused = cluster.patch(&draft, unreadable, Some(1)).await;
    assert_eq!(refused.status, 412, "{}", refused.body);
    let known = Heard::Read { known: Some(2) };
    let heard = [Heard::READ, Heard::edit_of(1), known];
    assert_eq!(cluster.old.heard(), heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_node_reads_and_edits_a_new_nodes_draft() {
    let cluster = HalfUpgraded::start().await;
    let id = cluster.site.draft(AT_THE_NEW_NODE).await;
    let path = format!("/v1/invoices/{id}");
    let read = |known| Question::Read {
        id: id.clone(),
        known,
    };

    let Reply::Found { invoice } = cluster.old.ask(read(None)).await else {
        panic!("not found");
    };
    assert_eq!(
        (&invoice["id"], &invoice["version"]),
        (&json!(id), &json!(1))
    );
    assert!(matches!(
        cluster.old.ask(read(Some(1))).await,
        Reply::Unchanged
    ));

    let content = with(&invoice["content"], &[("memo", "As agreed")]);
    let edit = json!({"command": "edit", "content": content});
    let first = || cluster.execute(&id, edit.clone(), "once_1", Some(1));
    for is_repeat in [false, true] {
        let Reply::Done { invoice, replayed } = cluster.old.ask(first()).await else {
            panic!("not done");
        };
        assert_eq!((&invoice["version"], replayed), (&json!(2), is_repeat));
        assert_eq!(invoice["content"], content);
    }
    let late = cluster.execute(&id, edit.clone(), "once_2", Some(1));
    let Reply::Refused(refusal) = cluster.old.ask(late).await else {
        panic!("not refused");
    };
    assert_eq!(refusal, json!({"VersionMismatch": {"current": 2}}));

    let shown = cluster.get(&path).await;
    assert_eq!(shown.etag.as_deref(), Some("\"2\""));
    assert_eq!(shown.body["memo"], "As agreed");
    assert_eq!(cluster.old.heard(), []);
}

/// What it was at may be done or not: an old node knows of no answer that says so, and asks again when
/// there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_that_stops_without_waiting_leaves_an_old_nodes_question_open() {
    let mut cluster = HalfUpgraded::start().await;
    let id = cluster.site.draft(AT_THE_NEW_NODE).await;
    let read = Question::Read {
        id: id.clone(),
        known: None,
    };
    let Reply::Found { invoice } = cluster.old.ask(read).await else {
        panic!("not found");
    };
    let content = with(&invoice["content"], &[("memo", "As agreed")]);
    let edit = json!({"command": "edit", "content": content});
    let question = cluster.execute(&id, edit, "once_1", None);

    let file =
        SqliteConnectOptions::new().filename(cluster.site.cluster.data_dir().join("faktor.db"));
    let mut writer = SqliteConnection::connect_with(&file).await.unwrap();
    writer.execute("BEGIN IMMEDIATE").await.unwrap();
    let HalfUpgraded { site, old, .. } = &mut cluster;
    let (answer, ()) = tokio::join!(old.ask_once(question), site.cluster.stop(AT_THE_NEW_NODE));
    assert!(answer.is_none(), "{answer:?}");
    writer.execute("ROLLBACK").await.unwrap();
}

/// It does not know how to say that somebody waits there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_node_is_told_all_news_of_the_feed() {
    let cluster = HalfUpgraded::start().await;
    let before = cluster.old.news_of_the_feed();
    cluster.site.draft(AT_THE_NEW_NODE).await;
    let told = async {
        while cluster.old.news_of_the_feed() == before {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), told).await.unwrap();
}
