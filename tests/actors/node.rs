//! A node on a store that can be made to fail, and what is asked of it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use faktor::actors::auth_cache::AuthHandle;
use faktor::actors::invoices::{ExecuteError, Executed, InvoicesHandle};
use faktor::actors::root::{Foundation, Parts, RunningActors};
use faktor::clock::{Clock, new_uuid, random_hex};
use faktor::config::{self, Config};
use faktor::domain::ids::{InvoiceId, OrganizationId};
use faktor::domain::invoice::command::{
    AllocatedNumber, Command, IdempotencyKey, Initiator, Request, SendRequest,
};
use faktor::domain::invoice::entry::Recorded;
use faktor::domain::invoice::event::PublicEvent;
use faktor::domain::invoice::{Content, Invoice, Line, Status};
use faktor::domain::money::Currency;
use faktor::domain::party::{
    Issuer, Locale, MailTexts, Metadata, Organization, PageSize, Party, Rounding,
};
use faktor::domain::tax::Tax;
use faktor::outbound::mail::{Mail, MemoryMail};
use faktor::outbound::media::{FileMedia, Media};
use faktor::outbound::payment::Payments;
use faktor::outbound::payment::sandbox::{SandboxOptions, SandboxProvider};
use faktor::render::RenderContext;
use faktor::store::cache::SharedCache;
use faktor::store::sql::{SqliteOptions, SqliteStore, StoreHandle};
use faktor::store::{
    Commit, DueInvoice, Epoch, InvoiceFilter, InvoiceStore, Page, PageRequest, SeriesStore,
    ShardId, StoreError, Stores,
};
use jiff::Timestamp;
use jiff::civil::Date;
use tempfile::TempDir;

/// A real store that does wrong when it is told to.
pub(crate) struct Moody {
    pub(crate) store: Arc<dyn InvoiceStore>,
    /// Panics in the middle of this invoice's next write.
    pub(crate) panic_on: Mutex<Option<InvoiceId>>,
    /// Refuses so many writes as if the disk were full.
    pub(crate) full: AtomicU32,
    /// Writes, but answers as if another write had come first.
    pub(crate) lies: AtomicBool,
    /// Never comes to an end with a write.
    pub(crate) hangs: AtomicBool,
    /// Another node owns the invoices from the next number on that is to be noted.
    pub(crate) moved: AtomicBool,
    pub(crate) commits: AtomicU32,
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
        let has_number = commit
            .recorded
            .iter()
            .any(|it| it.entry.name() == "finalized");
        if has_number && self.moved.swap(false, Ordering::SeqCst) {
            return Err(StoreError::NotOwner);
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
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

/// A real series that is away when it is told to be.
pub(crate) struct MoodySeries {
    store: Arc<dyn SeriesStore>,
    /// For so many questions.
    pub(crate) away: AtomicU32,
}

#[async_trait]
impl SeriesStore for MoodySeries {
    async fn allocate(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        today: Date,
    ) -> Result<AllocatedNumber, StoreError> {
        let one_less = |n: u32| n.checked_sub(1);
        let away = self
            .away
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        if away.is_ok() {
            let reason = "the database is away".to_owned();
            return Err(StoreError::Unavailable { reason });
        }
        self.store.allocate(organization, invoice, today).await
    }

    async fn reserve(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        number: &AllocatedNumber,
    ) -> Result<(), StoreError> {
        self.store.reserve(organization, invoice, number).await
    }
}

pub(crate) struct Node {
    pub(crate) actors: RunningActors,
    pub(crate) parts: Parts,
    pub(crate) store: StoreHandle,
    pub(crate) moody: Arc<Moody>,
    pub(crate) series: Arc<MoodySeries>,
    pub(crate) mail: MemoryMail,
    pub(crate) sandbox: SandboxProvider,
    pub(crate) organization: OrganizationId,
    _dir: TempDir,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::start_with(Clock::System, |_| {}).await
    }

    pub(crate) async fn start_with(clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
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
            hangs: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            commits: AtomicU32::new(0),
        });
        stores.invoices = Arc::clone(&moody) as Arc<dyn InvoiceStore>;
        let series = Arc::new(MoodySeries {
            store: Arc::clone(&stores.series),
            away: AtomicU32::new(0),
        });
        stores.series = Arc::clone(&series) as Arc<dyn SeriesStore>;
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
            series,
            mail,
            sandbox,
            organization,
            _dir: dir,
        }
    }

    pub(crate) fn invoices(&self) -> &InvoicesHandle {
        &self.parts.invoices
    }

    pub(crate) async fn run(
        &self,
        id: InvoiceId,
        command: Command,
    ) -> Result<Executed, ExecuteError> {
        self.invoices()
            .execute(self.organization, id, request(command))
            .await
    }

    pub(crate) async fn draft(&self) -> InvoiceId {
        let id = InvoiceId::new(new_uuid());
        self.run(id, create(self.organization)).await.unwrap();
        id
    }

    pub(crate) async fn open(&self) -> InvoiceId {
        let id = self.draft().await;
        let executed = self.run(id, finalize()).await.unwrap();
        assert_eq!(executed.invoice.status(), Status::Open);
        id
    }

    pub(crate) async fn invoice(&self, id: InvoiceId) -> Arc<Invoice> {
        Arc::clone(
            &self
                .invoices()
                .get(self.organization, id)
                .await
                .unwrap()
                .invoice,
        )
    }

    pub(crate) async fn until(
        &self,
        id: InvoiceId,
        holds: impl Fn(&Invoice) -> bool,
    ) -> Arc<Invoice> {
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

    pub(crate) async fn stop(self) {
        self.actors.stop(Duration::from_secs(10)).await;
        self.store.close().await.unwrap();
    }
}

pub(crate) async fn found(stores: &Stores, now: Timestamp) -> OrganizationId {
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

pub(crate) fn issuer() -> Issuer {
    Issuer {
        legal_name: "Test GmbH".to_owned(),
        ..Issuer::default()
    }
}

pub(crate) fn create(organization: OrganizationId) -> Command {
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

pub(crate) fn finalize() -> Command {
    Command::Finalize {
        issuer: Box::new(issuer()),
        send: None,
    }
}

pub(crate) fn send() -> Command {
    Command::Send {
        issuer: Box::new(issuer()),
        request: SendRequest::default(),
    }
}

pub(crate) fn pay(payment_method: &str) -> Command {
    Command::Pay {
        payment_method: payment_method.to_owned(),
    }
}

pub(crate) fn request(command: Command) -> Request {
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

/// Lets everything else run until the condition holds.
pub(crate) async fn eventually(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it holds in time");
}
