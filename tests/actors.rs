//! The supervision tree and the invoices in it, on a real store that can be made to fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test relies on ends the test"
)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use faktor::actors::auth_cache::AuthHandle;
use faktor::actors::invoices::{ExecuteError, Executed, InvoicesHandle};
use faktor::actors::root::{Foundation, Parts, RunningActors, TreeNode};
use faktor::clock::{Clock, new_uuid, random_hex};
use faktor::config::{self, Config};
use faktor::domain::ids::{InvoiceId, OrganizationId};
use faktor::domain::invoice::command::{Command, IdempotencyKey, Initiator, Request, SendRequest};
use faktor::domain::invoice::decide::Refusal;
use faktor::domain::invoice::entry::Recorded;
use faktor::domain::invoice::event::PublicEvent;
use faktor::domain::invoice::{Content, Invoice, Line, Status};
use faktor::domain::money::Currency;
use faktor::domain::party::{
    Issuer, Locale, MailTexts, Metadata, Organization, PageSize, Party, Rounding,
};
use faktor::domain::tax::Tax;
use faktor::outbound::mail::{Mail, MailError, MemoryMail};
use faktor::outbound::media::{FileMedia, Media};
use faktor::outbound::payment::Payments;
use faktor::outbound::payment::sandbox::{SandboxOptions, SandboxProvider};
use faktor::render::RenderContext;
use faktor::store::cache::SharedCache;
use faktor::store::sql::{SqliteOptions, SqliteStore, StoreHandle};
use faktor::store::{
    Commit, DueInvoice, Epoch, InvoiceFilter, InvoiceStore, Page, PageRequest, ShardId, StoreError,
    Stores,
};
use jiff::Timestamp;
use tempfile::TempDir;

/// A real store that does wrong when it is told to.
struct Moody {
    store: Arc<dyn InvoiceStore>,
    /// Panics in the middle of this invoice's next write.
    panic_on: Mutex<Option<InvoiceId>>,
    /// Refuses so many writes as if the disk were full.
    full: AtomicU32,
    /// Writes, but answers as if another write had come first.
    lies: AtomicBool,
    commits: AtomicU32,
}

#[async_trait]
impl InvoiceStore for Moody {
    async fn load(&self, id: InvoiceId) -> Result<Option<Invoice>, StoreError> {
        self.store.load(id).await
    }

    async fn claim(&self, id: InvoiceId, epoch: Epoch) -> Result<Option<Invoice>, StoreError> {
        self.store.claim(id, epoch).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let panics = self
            .panic_on
            .lock()
            .unwrap()
            .take_if(|id| *id == commit.invoice.id)
            .is_some();
        assert!(!panics, "the test wants it so");
        if self
            .full
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok()
        {
            return Err(StoreError::Unavailable {
                reason: "disk full".to_owned(),
            });
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.store.commit(commit).await?;
        if self.lies.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Conflict);
        }
        Ok(())
    }

    async fn list(
        &self,
        organization: OrganizationId,
        filter: &InvoiceFilter,
        page: &PageRequest<InvoiceId>,
    ) -> Result<Page<Invoice>, StoreError> {
        self.store.list(organization, filter, page).await
    }

    async fn history(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.store.history(id, after_version, limit).await
    }

    async fn events_of(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<PublicEvent>, StoreError> {
        self.store.events_of(id, after_version, limit).await
    }

    async fn due(
        &self,
        shards: Option<&[ShardId]>,
        now: Timestamp,
        limit: u16,
    ) -> Result<Vec<DueInvoice>, StoreError> {
        self.store.due(shards, now, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}

struct Node {
    actors: RunningActors,
    parts: Parts,
    store: StoreHandle,
    moody: Arc<Moody>,
    mail: MemoryMail,
    sandbox: SandboxProvider,
    organization: OrganizationId,
    _dir: TempDir,
}

impl Node {
    async fn start() -> Self {
        Self::start_with(Clock::System, |_| {}).await
    }

    async fn start_with(clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config: Config = toml::from_str(config::DEFAULTS).unwrap();
        config.effects.first_delay_ms = 10;
        config.effects.max_delay_ms = 50;
        config.effects.max_attempts = 3;
        config.actors.sweep_interval_ms = 20;
        config.payments.timeout_ms = 300;
        change(&mut config);
        let config = Arc::new(config);
        let (mut stores, store) = SqliteStore::open(dir.path(), SqliteOptions::default())
            .await
            .unwrap();
        let moody = Arc::new(Moody {
            store: Arc::clone(&stores.invoices),
            panic_on: Mutex::new(None),
            full: AtomicU32::new(0),
            lies: AtomicBool::new(false),
            commits: AtomicU32::new(0),
        });
        stores.invoices = Arc::clone(&moody) as Arc<dyn InvoiceStore>;
        let organization = found(&stores, clock.now()).await;
        let mail = MemoryMail::default();
        let options = SandboxOptions::new(dir.path(), "http://127.0.0.1:1", clock.clone());
        let sandbox = SandboxProvider::open(options).unwrap();
        let auth = AuthHandle::start(&config, clock.clone(), &stores)
            .await
            .unwrap();
        let parts = Parts::assemble(Foundation {
            config,
            clock,
            stores,
            mail: Mail::Memory(mail.clone()),
            media: Media::Files(FileMedia::new(dir.path())),
            payments: Arc::new(Payments::Sandbox(sandbox.clone())),
            events: None,
            context: RenderContext {
                public_url: Some("http://127.0.0.1:1".to_owned()),
                sandbox: true,
                logo_png: None,
            },
            auth,
            cache: SharedCache::None,
            probes: Vec::new(),
            ownership: faktor::actors::ownership::Ownership::first(),
            represent: Arc::new(|_| Err("there is no edge".to_owned())),
        });
        let actors = RunningActors::start(parts.clone()).await.unwrap();
        Self {
            actors,
            parts,
            store,
            moody,
            mail,
            sandbox,
            organization,
            _dir: dir,
        }
    }

    fn invoices(&self) -> &InvoicesHandle {
        &self.parts.invoices
    }

    async fn run(&self, id: InvoiceId, command: Command) -> Result<Executed, ExecuteError> {
        self.invoices()
            .execute(self.organization, id, request(command))
            .await
    }

    async fn draft(&self) -> InvoiceId {
        let id = InvoiceId::new(new_uuid());
        self.run(id, create(self.organization)).await.unwrap();
        id
    }

    async fn open(&self) -> InvoiceId {
        let id = self.draft().await;
        let executed = self.run(id, finalize()).await.unwrap();
        assert_eq!(executed.invoice.status(), Status::Open);
        id
    }

    async fn invoice(&self, id: InvoiceId) -> Arc<Invoice> {
        Arc::clone(
            &self
                .invoices()
                .get(self.organization, id)
                .await
                .unwrap()
                .invoice,
        )
    }

    async fn until(&self, id: InvoiceId, holds: impl Fn(&Invoice) -> bool) -> Arc<Invoice> {
        let mut versions = self.invoices().watch(id);
        let waiting = async {
            loop {
                let invoice = self.invoice(id).await;
                if holds(&invoice) {
                    return invoice;
                }
                versions.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), waiting).await {
            Ok(invoice) => invoice,
            Err(elapsed) => panic!("{elapsed}: {:#?}", self.invoice(id).await),
        }
    }

    async fn stop(self) {
        self.actors.stop(Duration::from_secs(10)).await;
        self.store.close().await.unwrap();
    }
}

async fn found(stores: &Stores, now: Timestamp) -> OrganizationId {
    let id = OrganizationId::new(new_uuid());
    let organization = Organization {
        id,
        version: 1,
        issuer: issuer(),
        locale: Locale::default(),
        page_size: PageSize::default(),
        currency: "EUR".parse().unwrap(),
        number_pattern: "{YYYY}-{0000}".to_owned(),
        due_in_days: 14,
        payment_terms: None,
        rounding: Rounding::PerRate,
        default_tax: Tax::standard("19".parse().unwrap()),
        mail_texts: MailTexts::default(),
        created_at: now,
        updated_at: now,
    };
    stores
        .directory
        .insert_organization(&organization)
        .await
        .unwrap();
    id
}

fn issuer() -> Issuer {
    Issuer {
        legal_name: "Test GmbH".to_owned(),
        ..Issuer::default()
    }
}

fn create(organization: OrganizationId) -> Command {
    let currency: Currency = "EUR".parse().unwrap();
    let content = Content {
        issuer: issuer(),
        customer: None,
        bill_to: Party {
            name: "Ada GmbH".to_owned(),
            email: Some("ap@ada.example".to_owned()),
            ..Party::default()
        },
        ship_to: None,
        currency,
        prices_include_tax: false,
        rounding: Rounding::PerRate,
        locale: Locale::default(),
        page_size: PageSize::default(),
        purchase_order: None,
        reference: None,
        memo: None,
        payment_terms: None,
        due_in_days: 14,
        lines: vec![Line {
            description: "Consulting".to_owned(),
            product: None,
            quantity: "1".parse().unwrap(),
            unit: None,
            unit_price: "100".parse().unwrap(),
            discount: None,
            tax: Tax::standard("19".parse().unwrap()),
        }],
        discounts: Vec::new(),
        charges: Vec::new(),
        metadata: Metadata::new(),
        mail_texts: MailTexts::default(),
    };
    Command::Create {
        organization,
        content: Arc::new(content),
        page_secret: random_hex::<16>(),
    }
}

fn finalize() -> Command {
    Command::Finalize {
        issuer: Box::new(issuer()),
        send: None,
    }
}

fn send() -> Command {
    Command::Send {
        issuer: Box::new(issuer()),
        request: SendRequest::default(),
    }
}

fn pay(payment_method: &str) -> Command {
    Command::Pay {
        payment_method: payment_method.to_owned(),
    }
}

fn request(command: Command) -> Request {
    let key = random_hex::<8>();
    Request {
        command,
        by: Initiator::System,
        key: Some(IdempotencyKey {
            key: key.clone(),
            fingerprint: 1,
            keep: false,
            unsure_for_ms: None,
        }),
        expected_version: None,
        request_id: key,
    }
}

#[tokio::test]
async fn a_thousand_parallel_payments_make_one_charge() {
    let node = Node::start().await;
    let id = node.open().await;
    let payments = (0..1_000).map(|_| node.run(id, pay("pm_ok")));
    let results = futures_util::future::join_all(payments).await;
    let begun = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(begun, 1);
    assert!(
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .all(|error| matches!(
                error,
                ExecuteError::Refused(Refusal::PaymentInProgress | Refusal::AlreadyPaid)
            ))
    );
    node.until(id, |invoice| invoice.status() == Status::Paid)
        .await;
    assert_eq!(node.sandbox.charges(id).await.unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn numbers_of_parallel_finalizes_have_no_gap_and_no_double() {
    let node = Node::start().await;
    let opened = futures_util::future::join_all((0..64).map(|_| node.open())).await;
    let mut numbers = BTreeSet::new();
    for id in opened {
        numbers.insert(node.invoice(id).await.issued().unwrap().number.clone());
    }
    let year = Clock::System.now().to_zoned(jiff::tz::TimeZone::UTC).year();
    let expected: BTreeSet<_> = (1..=64).map(|n| format!("{year}-{n:04}")).collect();
    assert_eq!(numbers, expected);
    node.stop().await;
}

#[tokio::test]
async fn a_panic_in_an_invoice_costs_that_one_request_and_nothing_else() {
    let node = Node::start().await;
    let (sick, healthy) = (node.draft().await, node.draft().await);
    *node.moody.panic_on.lock().unwrap() = Some(sick);
    // Without a key it can't be asked again safely, so its caller hears of the crash.
    let mut unkeyed = request(finalize());
    unkeyed.key = None;
    let crashed = node.invoices().execute(node.organization, sick, unkeyed);
    let others = futures_util::future::join_all((0..20).map(|_| node.run(healthy, finalize())));
    let (crashed, others) = tokio::join!(crashed, others);
    assert!(matches!(crashed, Err(ExecuteError::Crashed)), "{crashed:?}");
    assert!(others.iter().any(Result::is_ok));
    let executed = node.run(sick, finalize()).await.unwrap();
    assert_eq!(executed.invoice.status(), Status::Open);
    node.stop().await;
}

#[tokio::test]
async fn a_keyed_request_survives_the_crash_of_its_actor() {
    let node = Node::start().await;
    let id = node.draft().await;
    *node.moody.panic_on.lock().unwrap() = Some(id);
    let executed = node.run(id, finalize()).await.unwrap();
    assert_eq!(executed.invoice.status(), Status::Open);
    node.stop().await;
}

#[tokio::test]
async fn commands_that_wait_behind_a_crash_are_carried_out() {
    let node = Node::start().await;
    let id = node.open().await;
    *node.moody.panic_on.lock().unwrap() = Some(id);
    let record = |n: i64| Command::RecordPayment {
        amount: faktor::domain::money::Money::new(n, "EUR".parse().unwrap()),
        method: "cash".to_owned(),
        received_on: None,
        reference: None,
    };
    let payments = futures_util::future::join_all((1..=50).map(|n| node.run(id, record(n)))).await;
    assert!(payments.iter().all(Result::is_ok), "{payments:?}");
    let invoice = node.invoice(id).await;
    assert_eq!(invoice.payment.received.len(), 50, "each once");
    assert_eq!(invoice.paid().minor, (1..=50).sum::<i64>());
    node.stop().await;
}

#[tokio::test]
async fn a_lost_write_race_is_judged_again_from_the_store() {
    let node = Node::start().await;
    let id = node.open().await;
    node.moody.lies.store(true, Ordering::SeqCst);
    // The first attempt was written though the store said otherwise: asked again, it is a repeat.
    let executed = node.run(id, pay("pm_ok")).await.unwrap();
    assert!(executed.replayed);
    node.until(id, |invoice| invoice.status() == Status::Paid)
        .await;
    assert_eq!(node.sandbox.charges(id).await.unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_the_command_and_the_invoice_goes_on_afterwards() {
    let node = Node::start().await;
    let id = node.draft().await;
    node.moody.full.store(1, Ordering::SeqCst);
    let refused = node.run(id, finalize()).await;
    assert!(matches!(
        refused,
        Err(ExecuteError::Store(StoreError::Unavailable { .. }))
    ));
    assert_eq!(node.invoice(id).await.status(), Status::Draft);
    assert_eq!(
        node.run(id, finalize()).await.unwrap().invoice.status(),
        Status::Open
    );
    node.stop().await;
}

#[tokio::test]
async fn a_failing_mail_is_tried_again_then_parked_then_sent_by_an_operators_retry() {
    let node = Node::start().await;
    let error = MailError::Temporary {
        detail: "the server is busy".to_owned(),
    };
    node.mail.fail_next(3, &error);
    let id = node.open().await;
    node.run(id, send()).await.unwrap();
    let parked = node
        .until(id, |invoice| invoice.effects.iter().any(|e| e.parked))
        .await;
    assert_eq!(parked.effects.len(), 1);
    assert_eq!(parked.effects[0].attempts, 3);
    assert_eq!(node.mail.sent().len(), 0);
    node.run(id, Command::Retry).await.unwrap();
    node.until(id, |invoice| invoice.delivery.sent_at.is_some())
        .await;
    assert_eq!(node.mail.sent().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_mail_refused_for_good_is_parked_at_once_with_the_reason() {
    let node = Node::start().await;
    let error = MailError::Permanent {
        detail: "no such mailbox".to_owned(),
    };
    node.mail.fail_next(1, &error);
    let id = node.open().await;
    node.run(id, send()).await.unwrap();
    let parked = node
        .until(id, |invoice| invoice.effects.iter().any(|e| e.parked))
        .await;
    let last_error = parked.effects[0].last_error.as_ref().unwrap();
    assert_eq!(parked.effects[0].attempts, 1);
    assert!(
        last_error.detail.contains("no such mailbox"),
        "{last_error:?}"
    );
    node.stop().await;
}

#[tokio::test]
async fn two_sends_at_once_make_one_mail() {
    let node = Node::start().await;
    let id = node.open().await;
    let (first, second) = tokio::join!(node.run(id, send()), node.run(id, send()));
    assert!(first.is_ok() && second.is_ok());
    node.until(id, |invoice| invoice.effects.is_empty()).await;
    assert_eq!(node.mail.sent().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_lost_reply_ends_in_one_charge_and_a_paid_invoice() {
    let node = Node::start().await;
    let id = node.open().await;
    node.run(id, pay("pm_lost_reply")).await.unwrap();
    let paid = node
        .until(id, |invoice| invoice.status() == Status::Paid)
        .await;
    assert_eq!(paid.paid(), paid.totals.total);
    assert_eq!(node.sandbox.charges(id).await.unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn an_idle_invoice_leaves_memory_and_comes_back() {
    let clock = Clock::manual("2026-03-01T10:00:00Z".parse().unwrap());
    let node = Node::start_with(clock.clone(), |config| config.actors.idle_after_s = 60).await;
    let id = node.draft().await;
    assert_eq!(node.invoices().live_count(), 1);
    clock.advance_ms(61_000);
    eventually(|| node.invoices().live_count() == 0).await;
    assert_eq!(node.invoice(id).await.status(), Status::Draft);
    node.stop().await;
}

#[tokio::test]
async fn no_more_invoices_live_than_the_bound_and_each_still_answers() {
    let node = Node::start_with(Clock::System, |config| config.actors.max_live_invoices = 10).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(node.draft().await);
    }
    eventually(|| node.invoices().live_count() <= 10).await;
    for id in ids {
        assert_eq!(node.invoice(id).await.status(), Status::Draft);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_full_queue_says_busy_and_loses_nothing() {
    let node = Node::start_with(Clock::System, |config| {
        config.actors.max_waiting_per_invoice = 5;
    })
    .await;
    let id = node.open().await;
    let results =
        futures_util::future::join_all((0..50).map(|_| node.run(id, Command::View))).await;
    let busy = results
        .iter()
        .filter(|r| matches!(r, Err(ExecuteError::Busy)))
        .count();
    assert_eq!(busy, 45, "five wait, the rest is told at once");
    assert!(node.run(id, pay("pm_ok")).await.is_ok());
    node.stop().await;
}

#[tokio::test]
async fn a_due_date_that_passes_makes_the_invoice_overdue() {
    let clock = Clock::manual("2026-03-01T10:00:00Z".parse().unwrap());
    let node = Node::start_with(clock.clone(), |_| {}).await;
    let id = node.open().await;
    let due_on = node.invoice(id).await.issued().unwrap().due_on;
    assert_eq!(due_on.to_string(), "2026-03-15");
    clock.advance_ms(15 * 24 * 3_600 * 1_000);
    let overdue = node.until(id, Invoice::is_overdue).await;
    assert_eq!(overdue.status(), Status::Open);
    node.stop().await;
}

#[tokio::test]
async fn another_organizations_invoice_is_not_found() {
    let node = Node::start().await;
    let id = node.draft().await;
    let stranger = OrganizationId::new(new_uuid());
    let result = node
        .invoices()
        .execute(stranger, id, request(Command::Delete))
        .await;
    assert!(matches!(
        result,
        Err(ExecuteError::Refused(Refusal::NotFound))
    ));
    let result = node.invoices().get(stranger, id).await;
    assert!(matches!(
        result,
        Err(ExecuteError::Refused(Refusal::NotFound))
    ));
    let nothing = InvoiceId::new(new_uuid());
    let result = node.invoices().get(node.organization, nothing).await;
    assert!(matches!(
        result,
        Err(ExecuteError::Refused(Refusal::NotFound))
    ));
    node.stop().await;
}

#[tokio::test]
async fn the_tree_has_every_part_and_all_shards() {
    let node = Node::start().await;
    let tree = node.actors.handle().tree();
    let names: Vec<_> = tree
        .children
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    let parts = [
        "auth_cache",
        "pdf",
        "media",
        "mail",
        "payment",
        "outbox",
        "invoices",
        "inbox",
        "sweeper",
    ];
    assert_eq!(names, parts);
    let find = |name: &str| -> TreeNode {
        tree.children
            .iter()
            .find(|part| part.name == name)
            .unwrap()
            .clone()
    };
    assert_eq!(find("invoices").children[0].count, 256);
    assert!(find("pdf").children[0].count >= 1);
    node.stop().await;
}

/// Lets everything else run until the condition holds.
async fn eventually(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it holds in time");
}
