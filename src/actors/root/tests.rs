//! What goes down is started again, is counted, and works afterwards.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use ractor::{ActorCell, ActorId};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Duration;

use super::{MAX_RESTARTS, Restarts};
use crate::actors::auth_cache::AuthHandle;
use crate::actors::invoices::Executed;
use crate::actors::parts::Part;
use crate::actors::root::{Foundation, Parts, RunningActors, TreeNode};
use crate::actors::shard::ShardMessage;
use crate::clock::{Clock, new_uuid, random_hex};
use crate::config::{Config, DEFAULTS};
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::{Command, IdempotencyKey, Initiator, Request};
use crate::domain::invoice::{Content, DocumentFormat, Status};
use crate::outbound::mail::{Mail, MemoryMail};
use crate::outbound::media::{FileMedia, Media};
use crate::outbound::payment::Payments;
use crate::outbound::payment::sandbox::{SandboxOptions, SandboxProvider};
use crate::render::RenderContext;
use crate::store::InboxMessage;
use crate::store::cache::SharedCache;
use crate::store::sql::{SqliteOptions, SqliteStore, StoreHandle};

const START: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// The actors of a node, whose clock stands still: so many restarts fall into one window.
struct Node {
    actors: RunningActors,
    parts: Parts,
    payments: Arc<Payments>,
    store: StoreHandle,
    organization: OrganizationId,
    _dir: TempDir,
}

impl Node {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config: Config = toml::from_str(DEFAULTS).unwrap();
        config.actors.sweep_interval_ms = 20;
        let config = Arc::new(config);
        let clock = Clock::manual(START);
        let (stores, store) = SqliteStore::open(dir.path(), SqliteOptions::default())
            .await
            .unwrap();
        let options = SandboxOptions::new(dir.path(), "http://127.0.0.1:1", clock.clone());
        let payments = Arc::new(Payments::Sandbox(SandboxProvider::open(options).unwrap()));
        let parts = Parts::assemble(Foundation {
            auth: AuthHandle::start(&config, clock.clone(), &stores)
                .await
                .unwrap(),
            config,
            clock,
            stores,
            mail: Mail::Memory(MemoryMail::default()),
            media: Media::Files(FileMedia::new(dir.path())),
            payments: Arc::clone(&payments),
            events: None,
            context: RenderContext {
                public_url: None,
                sandbox: true,
                logo_png: None,
            },
            cache: SharedCache::None,
            probes: Vec::new(),
            ownership: crate::actors::ownership::Ownership::first(),
            represent: Arc::new(|_| Err("there is no edge".to_owned())),
        });
        Self {
            actors: RunningActors::start(parts.clone()).await.unwrap(),
            parts,
            payments,
            store,
            organization: OrganizationId::new(new_uuid()),
            _dir: dir,
        }
    }

    async fn run(&self, id: InvoiceId, command: Command) -> Executed {
        let request = Request {
            command,
            by: Initiator::System,
            key: Some(IdempotencyKey {
                key: random_hex::<8>(),
                fingerprint: 1,
                keep: false,
                unsure_for_ms: None,
            }),
            expected_version: None,
            request_id: "test".to_owned(),
        };
        let invoices = &self.parts.invoices;
        invoices
            .execute(self.organization, id, request)
            .await
            .unwrap()
    }

    /// An open invoice of 119.00 EUR.
    async fn open(&self) -> InvoiceId {
        let id = InvoiceId::new(new_uuid());
        let content: Content = serde_json::from_value(json!({
            "issuer": {"legal_name": "Test GmbH"}, "bill_to": {"name": "Ada GmbH"},
            "currency": "EUR", "prices_include_tax": false, "rounding": "per_rate",
            "locale": "en", "page_size": "a4", "due_in_days": 14,
            "lines": [{"description": "Consulting", "quantity": "1", "unit_price": "100",
                       "tax": {"category": "S", "rate": "19"}}],
        }))
        .unwrap();
        let command = Command::Import {
            organization: self.organization,
            content: Arc::new(content),
            page_secret: random_hex::<16>(),
            number: format!("T-{id}"),
            issued_on: jiff::civil::date(2027, 1, 15),
            format: DocumentFormat::Csv,
            notify: None,
        };
        self.run(id, command).await;
        id
    }

    /// A webhook that says the invoice of [`Node::open`] was paid.
    async fn receive_payment(&self, id: InvoiceId) {
        let event = json!({
            "id": format!("evt_{id}"), "type": "payment_intent.succeeded",
            "data": {"object": {"id": "pi_1", "amount": 11_900, "currency": "eur",
                                "metadata": {"invoice": id}}},
        });
        let body = event.to_string();
        let event = self.payments.read_event(body.as_bytes()).unwrap();
        self.parts
            .inbox
            .receive("sandbox", &event, body.as_bytes())
            .await
            .unwrap();
    }

    async fn status(&self, id: InvoiceId) -> Status {
        let published = self.parts.invoices.get(self.organization, id).await;
        published.unwrap().invoice.status()
    }

    /// The part as it was started first: actors' ids count up.
    fn part(&self, part: Part) -> ActorCell {
        let mut parts = self.actors.root.get_children();
        parts.sort_unstable_by_key(|part| part.get_id().pid());
        let place = self.parts.present().position(|present| present == part);
        parts.swap_remove(place.expect("a part that is present"))
    }

    /// Kills a part and waits for the one that takes its place.
    async fn replace(&self, part: ActorCell) -> ActorCell {
        let before = children(&self.actors.root);
        part.kill();
        let fresh = || {
            let mut parts = self.actors.root.get_children().into_iter();
            parts.find(|part| !before.contains(&part.get_id()))
        };
        until(|| fresh().is_some()).await;
        fresh().unwrap()
    }

    /// The shard that holds this live invoice.
    fn shard_of(&self, id: InvoiceId) -> ActorCell {
        let actor = self.parts.invoices.actor_of(id).unwrap();
        actor.try_get_supervisor().unwrap()
    }

    fn tree(&self, name: &str) -> TreeNode {
        let tree = self.actors.handle().tree();
        let parts = tree.children.into_iter();
        parts
            .flat_map(|part| [part.children.clone(), vec![part]].concat())
            .find(|node| node.name == name)
            .unwrap()
    }

    async fn stop(self) {
        self.actors.stop(Duration::from_secs(10)).await;
        self.store.close().await.unwrap();
    }
}

fn children(parent: &ActorCell) -> HashSet<ActorId> {
    parent
        .get_children()
        .iter()
        .map(ActorCell::get_id)
        .collect()
}

/// Lets everything else run until the condition holds.
async fn until(holds: impl Fn() -> bool) {
    in_time(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, what)
        .await
        .expect("it happens in time")
}

#[tokio::test]
async fn a_shard_that_is_killed_is_started_again_and_serves_its_invoices() {
    let node = Node::start().await;
    let id = node.open().await;
    let supervisor = node.part(Part::Invoices);
    let before = children(&supervisor);
    node.shard_of(id).kill();
    until(|| node.tree("shard").restarts == 1 && node.tree("shard").count == 256).await;
    assert_eq!(children(&supervisor).difference(&before).count(), 1);
    assert_eq!(node.status(id).await, Status::Open);
    let voided = node.run(id, Command::Void { reason: None }).await;
    assert_eq!(voided.invoice.status(), Status::Void);
    assert_eq!(node.tree("invoices").restarts, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_shard_that_panics_is_started_again_and_what_comes_meanwhile_is_carried_out() {
    let node = Node::start().await;
    let id = node.open().await;
    let shard = node.shard_of(id);
    shard.send_message(ShardMessage::Panic).unwrap();
    // Its invoice goes down with it, perhaps in the middle of this.
    let voided = node.run(id, Command::Void { reason: None }).await;
    assert_eq!(voided.invoice.status(), Status::Void);
    until(|| node.tree("shard").restarts == 1 && node.tree("shard").count == 256).await;
    assert_eq!(node.status(id).await, Status::Void);
    assert_ne!(node.shard_of(id).get_id(), shard.get_id());
    node.stop().await;
}

#[tokio::test]
async fn shards_that_keep_going_down_take_their_supervisor_with_them_and_all_come_back() {
    let node = Node::start().await;
    let id = node.open().await;
    let supervisor = node.part(Part::Invoices);
    for _ in 0..=MAX_RESTARTS {
        let restarts = node.tree("shard").restarts;
        supervisor.get_children().swap_remove(0).kill();
        let noticed = || node.tree("shard").restarts > restarts;
        until(|| noticed() || node.tree("invoices").restarts > 0).await;
    }
    until(|| node.tree("invoices").restarts == 1 && node.tree("shard").count == 256).await;
    assert!(!children(&node.actors.root).contains(&supervisor.get_id()));
    assert_eq!(node.status(id).await, Status::Open);
    node.stop().await;
}

#[tokio::test]
async fn an_outbox_that_goes_down_is_started_again_and_publishes() {
    let node = Node::start().await;
    node.replace(node.part(Part::Outbox)).await;
    assert_eq!(node.tree("outbox").restarts, 1);
    let mut published = node.parts.outbox.watch();
    node.open().await;
    in_time(published.wait_for(|total| *total > 0))
        .await
        .unwrap();
    node.stop().await;
}

#[tokio::test]
async fn an_inbox_that_goes_down_is_started_again_and_delivers() {
    let node = Node::start().await;
    let id = node.open().await;
    let mut versions = node.parts.invoices.watch(id);
    node.replace(node.part(Part::Inbox)).await;
    assert_eq!(node.tree("inbox").restarts, 1);
    node.receive_payment(id).await;
    while node.status(id).await != Status::Paid {
        in_time(versions.changed()).await.unwrap();
    }
    node.stop().await;
}

#[tokio::test]
async fn a_sweeper_that_goes_down_is_started_again_and_forgets_webhooks_after_thirty_days() {
    let node = Node::start().await;
    let id = node.open().await;
    let mut versions = node.parts.invoices.watch(id);
    node.receive_payment(id).await;
    while node.status(id).await != Status::Paid {
        in_time(versions.changed()).await.unwrap();
    }
    let inbox = &node.parts.stores.inbox;
    let repeat = |event_id: &str, received_at| InboxMessage {
        provider: "sandbox".to_owned(),
        event_id: event_id.to_owned(),
        body: Vec::new(),
        received_at,
        attempts: 0,
        next_attempt_at: received_at,
        last_error: None,
        // So that it is not delivered.
        parked: true,
    };
    let is_forgotten = async |event_id: &str| inbox.receive(repeat(event_id, START)).await.unwrap();
    // More than go with one write.
    let earlier = START - Duration::from_hours(48);
    for n in 0..250 {
        let (event_id, after) = (format!("earlier-{n}"), Duration::from_millis(n));
        let message = repeat(&event_id, earlier + after);
        inbox.receive(message).await.unwrap();
        inbox.delivered("sandbox", &event_id).await.unwrap();
    }
    node.replace(node.part(Part::Sweeper)).await;
    assert_eq!(node.tree("sweeper").restarts, 1);

    let advance_days = |days: i64| node.parts.clock.advance_ms(days * 24 * 3_600 * 1_000);
    advance_days(29);
    in_time(async { while !is_forgotten("earlier-249").await {} }).await;
    let event_id = format!("evt_{id}");
    assert!(!is_forgotten(&event_id).await);
    advance_days(2);
    in_time(async { while !is_forgotten(&event_id).await {} }).await;
    node.stop().await;
}

#[tokio::test]
async fn a_pool_that_goes_down_is_started_again_and_works() {
    let node = Node::start().await;
    let id = node.open().await;
    node.replace(node.part(Part::Pdf)).await;
    assert_eq!(node.tree("pdf").restarts, 1);
    let published = node.parts.invoices.get(node.organization, id).await;
    let invoice = Arc::clone(&published.unwrap().invoice);
    let document = node.parts.documents.render(invoice, DocumentFormat::Csv);
    assert!(!document.await.unwrap().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn too_many_restarts_end_the_node_with_a_reason() {
    let node = Node::start().await;
    let mut outbox = node.part(Part::Outbox);
    for _ in 0..MAX_RESTARTS {
        outbox = node.replace(outbox).await;
    }
    assert_eq!(node.tree("outbox").restarts, MAX_RESTARTS as u64);
    outbox.kill();
    assert_eq!(
        in_time(node.actors.failed()).await,
        "the part outbox can't be kept running: more than 20 restarts within a minute"
    );
    node.stop().await;
}

#[test]
fn restarts_that_are_far_apart_may_be_as_many_as_they_like() {
    let mut restarts = Restarts::default();
    let after = |seconds| START + Duration::from_secs(seconds);
    for n in 0..1_000 {
        restarts.note(after(4 * n)).unwrap();
    }
    let mut restarts = Restarts::default();
    for n in 0..MAX_RESTARTS as u64 {
        restarts.note(after(n)).unwrap();
    }
    assert!(restarts.note(after(60)).is_err());
    assert!(restarts.note(after(61)).is_ok());
}
