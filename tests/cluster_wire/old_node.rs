//! A node of version 1 in a real cluster: it stands in the book, has links and owns shards, but reads
//! and writes only what [`version_1`](crate::version_1) holds. Of its invoices it keeps one, a draft,
//! in memory.

use std::iter;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use faktor::clock::new_uuid;
use faktor::cluster::gateway::Inbound;
use faktor::cluster::links::{Links, LinksConfig, Peer};
use faktor::cluster::wire::{self, News};
use faktor::config::Secret;
use faktor::domain::ids::{InvoiceId, OrganizationId};
use faktor::store::ShardId;
use faktor::store::cluster::{BootId, ClusterStore, NewNode};
use faktor::store::sql::{SqliteOptions, SqliteStore};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::samples;
use crate::version_1::{Ask, Question, Reply, Request};

pub(crate) const NAME: &str = "old";
/// The versions of the wire that it speaks.
const WIRE: (u16, u16) = (1, 1);
const LEASE: Duration = Duration::from_secs(15);
/// How long the other node may take to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// What it was asked about an invoice, or could not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Read {
        known: Option<u64>,
    },
    Execute {
        command: String,
        expected_version: Option<u64>,
    },
    Unreadable(String),
}

impl Heard {
    pub(crate) const READ: Self = Self::Read { known: None };

    pub(crate) fn edit_of(version: u64) -> Self {
        Self::Execute {
            command: "edit".to_owned(),
            expected_version: Some(version),
        }
    }
}

pub(crate) struct OldNode {
    boot: BootId,
    store: Arc<dyn ClusterStore>,
    links: Links,
    desk: Desk,
    /// Ended with the node.
    _renewals: JoinSet<()>,
}

impl OldNode {
    /// Joins the one node that works on this data directory.
    pub(crate) async fn join(data_dir: &Path, cookie: &str) -> Self {
        let options = SqliteOptions {
            shared: true,
            ..SqliteOptions::default()
        };
        let (stores, _) = SqliteStore::open(data_dir, options).await.unwrap();
        let store = stores.cluster;
        let boot = BootId(new_uuid());
        let desk = Desk::default();
        let links = link(boot, cookie, desk.clone()).await;
        let [other] = &store.view().await.unwrap().nodes[..] else {
            panic!("not one node");
        };
        let me = NewNode {
            boot,
            name: NAME.to_owned(),
            address: links.local_addr().to_string(),
            wire: WIRE,
            ..other.node.clone()
        };
        store.join(&me, LEASE).await.unwrap();
        links.set_peers(vec![Peer {
            boot: other.node.boot,
            name: other.node.name.clone(),
            address: other.node.address.clone(),
        }]);
        let mut renewals = JoinSet::new();
        renewals.spawn(keep_lease(Arc::clone(&store), boot));
        Self {
            boot,
            store,
            links,
            desk,
            _renewals: renewals,
        }
    }

    /// Has a draft from now on, which is of a shard that it owns.
    pub(crate) async fn keep_draft_of(&self, organization: OrganizationId) -> InvoiceId {
        let shards = self.store.view().await.unwrap().shards;
        let is_own = |id: &InvoiceId| {
            let shard = usize::from(ShardId::of(*id).0);
            shards[shard].owner == Some(self.boot)
        };
        let mut ids = iter::repeat_with(|| InvoiceId::new(new_uuid())).take(10_000);
        let id = ids.find(is_own).expect("it owns no shard");
        self.desk.state().draft = serde_json::to_value(samples::draft(id, organization)).unwrap();
        id
    }

    /// The draft as it is now.
    pub(crate) fn draft(&self) -> Value {
        self.desk.state().draft.clone()
    }

    /// Once the draft was read the next time, somebody sets this field of its content.
    pub(crate) fn change_after_a_read(&self, field: &'static str, value: Value) {
        self.desk.state().after_a_read = Some((field, value));
    }

    /// What it has heard until now.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.desk.state().heard.clone()
    }

    /// How often it was told of something new in the feed.
    pub(crate) fn news_of_the_feed(&self) -> usize {
        self.desk.state().news_of_the_feed
    }

    /// Asks the other node, again if the link goes down meanwhile.
    pub(crate) async fn ask(&self, what: Question) -> Reply {
        let payload = self.payload(what);
        let asking = async {
            loop {
                if let Some(link) = self.links.all().pop()
                    && let Ok(answer) = link.call(payload.clone(), PATIENCE).await
                {
                    return answer;
                }
                sleep(ASK_AGAIN).await;
            }
        };
        let answer = timeout(PATIENCE, asking).await.expect("an answer");
        wire::read(&answer).unwrap()
    }

    /// Asks the other node; none when it says nothing as long as the link is up.
    pub(crate) async fn ask_once(&self, what: Question) -> Option<Reply> {
        let link = self.links.all().pop().expect("a link");
        let answer = link.call(self.payload(what), PATIENCE).await.ok()?;
        Some(wire::read(&answer).unwrap())
    }

    fn payload(&self, what: Question) -> Vec<u8> {
        let ask = Ask {
            from: self.boot.0,
            patience_ms: PATIENCE.as_millis().try_into().unwrap(),
            hops: 0,
            relay: false,
            what,
        };
        wire::write(&ask).unwrap()
    }
}

async fn link(boot: BootId, cookie: &str, desk: Desk) -> Links {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let cookie = Secret::new(cookie.to_owned());
    let config = LinksConfig::new(anywhere, boot, NAME.to_owned(), cookie);
    Links::start(config, Arc::new(desk)).await.unwrap()
}

async fn keep_lease(store: Arc<dyn ClusterStore>, boot: BootId) {
    loop {
        sleep(LEASE / 4).await;
        store.renew(boot, LEASE, 1).await.unwrap();
    }
}

/// Where it answers what it is asked.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    draft: Value,
    after_a_read: Option<(&'static str, Value)>,
    heard: Vec<Heard>,
    news_of_the_feed: usize,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl Inbound for Desk {
    async fn call(&self, payload: Vec<u8>) -> Vec<u8> {
        let reply = match wire::read::<Ask>(&payload) {
            Ok(ask) => self.state().answer(ask.what),
            Err(error) => {
                let unreadable = Heard::Unreadable(error.to_string());
                self.state().heard.push(unreadable);
                Reply::Unreadable
            }
        };
        wire::write(&reply).unwrap()
    }

    fn cast(&self, payload: Vec<u8>) {
        if let Ok(News::Published) = wire::read(&payload) {
            self.state().news_of_the_feed += 1;
        }
    }
}

impl State {
    fn answer(&mut self, what: Question) -> Reply {
        match what {
            Question::Read { id, known } => {
                self.heard.push(Heard::Read { known });
                self.read(&id, known)
            }
            Question::Execute { id, request, .. } => {
                self.heard.push(Heard::Execute {
                    command: request.command["command"].as_str().unwrap().to_owned(),
                    expected_version: request.expected_version,
                });
                self.execute(&id, *request)
            }
            Question::Take { .. } => Reply::Taken,
            Question::About => Reply::About(json!({
                "live_invoices": 1, "waiting": 0, "effects_running": 0, "renewed_ms_ago": 0,
            })),
        }
    }

    fn read(&mut self, id: &str, known: Option<u64>) -> Reply {
        if self.draft["id"] != id {
            return Reply::NotOwner { hint: None };
        }
        let invoice = self.draft.clone();
        if let Some((field, value)) = self.after_a_read.take() {
            let mut content = invoice["content"].clone();
            content[field] = value;
            self.edit(content);
        }
        if known.is_some_and(|known| invoice["version"] == known) {
            Reply::Unchanged
        } else {
            Reply::Found { invoice }
        }
    }

    fn execute(&mut self, id: &str, mut request: Request) -> Reply {
        if self.draft["id"] != id {
            return Reply::NotOwner { hint: None };
        }
        let current = self.version();
        if request.expected_version.is_some_and(|it| it != current) {
            return Reply::Refused(json!({"VersionMismatch": {"current": current}}));
        }
        if request.command["command"] != "edit" {
            return Reply::Busy;
        }
        self.edit(request.command["content"].take());
        Reply::Done {
            invoice: self.draft.clone(),
            replayed: false,
        }
    }

    fn edit(&mut self, content: Value) {
        self.draft["version"] = json!(self.version() + 1);
        self.draft["content"] = content;
    }

    fn version(&self) -> u64 {
        self.draft["version"].as_u64().unwrap()
    }
}
