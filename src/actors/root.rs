//! The root of the supervision tree: starts every part, restarts what went down, and gives up when
//! a part can't be kept up.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Duration;

use super::auth_cache::AuthHandle;
use super::documents::DocumentsHandle;
use super::effects::{EffectRunner, EffectTools};
use super::inbox::{Inbox, InboxHandle};
use super::invoices::{Invoices, InvoicesHandle};
use super::mail::MailWork;
use super::media::MediaWork;
use super::outbox::{Outbox, OutboxHandle};
use super::payment::PaymentWork;
use super::pdf::PdfWork;
use super::pool::{Pool, PoolSize};
use super::sweeper::Sweeper;
use crate::clock::Clock;
use crate::config::Config;
use crate::outbound::mail::Mail;
use crate::outbound::media::Media;
use crate::outbound::payment::Payments;
use crate::render::RenderContext;
use crate::store::{InvoiceStore, SHARDS, Stores};

/// More restarts than this within [`RESTART_WINDOW`] mean that restarting does not help.
const MAX_RESTARTS: usize = 20;
const RESTART_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Restart intensity: notes restarts and says when there were too many.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    recent: VecDeque<Timestamp>,
}

/// Restarting does not help.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_RESTARTS} restarts within a minute")]
pub(super) struct TooManyRestarts;

impl Restarts {
    pub(super) fn note(&mut self, now: Timestamp) -> Result<(), TooManyRestarts> {
        while self
            .recent
            .front()
            .is_some_and(|at| now.duration_since(*at) > RESTART_WINDOW)
        {
            self.recent.pop_front();
        }
        if self.recent.len() >= MAX_RESTARTS {
            return Err(TooManyRestarts);
        }
        self.recent.push_back(now);
        Ok(())
    }
}

/// One actor or group of actors of the supervision tree.
#[derive(Debug, Clone, Serialize)]
pub struct TreeNode {
    pub name: String,
    /// How many actors stand here.
    pub count: u64,
    /// Messages waiting or being worked on.
    pub queue_len: u64,
    /// Times this part was restarted.
    pub restarts: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TreeNode>,
}

/// The state of one thing this node depends on.
#[derive(Debug, Clone, Serialize)]
pub struct Dependency {
    pub name: String,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The parts that the root starts, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Auth,
    Pdf,
    Media,
    Mail,
    Payment,
    Outbox,
    Invoices,
    Inbox,
    Sweeper,
}

impl Part {
    const ALL: [Self; 9] = [
        Self::Auth,
        Self::Pdf,
        Self::Media,
        Self::Mail,
        Self::Payment,
        Self::Outbox,
        Self::Invoices,
        Self::Inbox,
        Self::Sweeper,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth_cache",
            Self::Pdf => "pdf",
            Self::Media => "media",
            Self::Mail => "mail",
            Self::Payment => "payment",
            Self::Outbox => "outbox",
            Self::Invoices => "invoices",
            Self::Inbox => "inbox",
            Self::Sweeper => "sweeper",
        }
    }
}

/// What the actors are built on.
pub struct Foundation {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub stores: Stores,
    pub mail: Mail,
    pub media: Media,
    pub payments: Arc<Payments>,
    pub context: RenderContext,
    pub auth: AuthHandle,
}

/// Every part with its handle: what the root starts and the edge uses.
#[derive(Clone)]
pub struct Parts {
    pub invoices: InvoicesHandle,
    pub auth: AuthHandle,
    pub documents: DocumentsHandle,
    pub inbox: InboxHandle,
    pub outbox: OutboxHandle,
    pdf: Pool<PdfWork>,
    media: Pool<MediaWork>,
    mail: Pool<MailWork>,
    payment: Pool<PaymentWork>,
    media_store: Media,
    payments: Arc<Payments>,
    stores: Stores,
    clock: Clock,
    sweep_interval: Duration,
    restarts: Arc<[AtomicU64; Part::ALL.len()]>,
}

impl Parts {
    /// Puts the handles together; nothing runs yet.
    pub fn assemble(foundation: Foundation) -> Self {
        let Foundation {
            config,
            clock,
            stores,
            mail,
            media,
            payments,
            context,
            auth,
        } = foundation;
        let pools = &config.pools;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pdf_workers = if pools.pdf_workers == 0 {
            cores
        } else {
            pools.pdf_workers
        };
        let pdf = Pool::new(
            PdfWork {
                context: context.clone(),
            },
            PoolSize {
                workers: pdf_workers,
                queue: pools.pdf_queue,
            },
        );
        let media_pool = Pool::new(
            MediaWork {
                media: media.clone(),
            },
            PoolSize {
                workers: pools.media_workers,
                queue: pools.media_queue,
            },
        );
        let mail = Pool::new(
            MailWork::new(mail, clock.clone(), config.mail.per_domain_per_minute),
            PoolSize {
                workers: pools.mail_workers,
                queue: pools.mail_queue,
            },
        );
        let provider_timeout = Duration::from_millis(config.payments.timeout_ms);
        let payment = Pool::new(
            PaymentWork::new(Arc::clone(&payments), clock.clone(), provider_timeout),
            PoolSize {
                workers: pools.payment_workers,
                queue: pools.payment_queue,
            },
        );
        let outbox = OutboxHandle::new();
        let invoices = InvoicesHandle::new(&stores, clock.clone(), outbox.clone(), &config.actors);
        let documents = DocumentsHandle::new(
            pdf.clone(),
            media_pool.clone(),
            Arc::clone(&stores.directory),
        );
        let tools = EffectTools {
            documents: documents.clone(),
            mail: mail.clone(),
            payment: payment.clone(),
            provider: payments.name(),
            context,
            mail_config: config.mail.clone(),
            config: config.effects.clone(),
            clock: clock.clone(),
        };
        invoices.set_effects(EffectRunner::new(tools, invoices.downgrade()));
        Self {
            inbox: InboxHandle::new(Arc::clone(&stores.inbox), clock.clone()),
            sweep_interval: Duration::from_millis(config.actors.sweep_interval_ms),
            invoices,
            auth,
            documents,
            outbox,
            pdf,
            media: media_pool,
            mail,
            payment,
            media_store: media,
            payments,
            stores,
            clock,
            restarts: Arc::default(),
        }
    }

    async fn spawn(&self, part: Part, root: ActorCell) -> Result<ActorCell, SpawnErr> {
        match part {
            Part::Auth => self.auth.spawn(root).await,
            Part::Pdf => self.pdf.spawn(root).await,
            Part::Media => self.media.spawn(root).await,
            Part::Mail => self.mail.spawn(root).await,
            Part::Payment => self.payment.spawn(root).await,
            Part::Outbox => {
                let store = Arc::clone(&self.stores.feed);
                spawn(
                    Outbox {
                        store,
                        handle: self.outbox.clone(),
                    },
                    root,
                )
                .await
            }
            Part::Invoices => {
                spawn(
                    Invoices {
                        handle: self.invoices.clone(),
                    },
                    root,
                )
                .await
            }
            Part::Inbox => {
                let inbox = Inbox {
                    handle: self.inbox.clone(),
                    invoices: self.invoices.clone(),
                    payments: Arc::clone(&self.payments),
                };
                spawn(inbox, root).await
            }
            Part::Sweeper => {
                let sweeper = Sweeper {
                    store: Arc::clone(&self.stores.invoices),
                    invoices: self.invoices.clone(),
                    clock: self.clock.clone(),
                    interval: self.sweep_interval,
                };
                spawn(sweeper, root).await
            }
        }
    }

    fn tree(&self) -> TreeNode {
        let children = Part::ALL
            .into_iter()
            .map(|part| self.tree_of(part))
            .collect();
        TreeNode {
            name: "root".to_owned(),
            count: 1,
            queue_len: 0,
            restarts: 0,
            children,
        }
    }

    fn tree_of(&self, part: Part) -> TreeNode {
        let restarts = self.restarts[part as usize].load(Ordering::Relaxed);
        let node = |count, queue_len, children| TreeNode {
            name: part.name().to_owned(),
            count,
            queue_len,
            restarts,
            children,
        };
        let pool = |in_flight, count| node(1, in_flight, workers(count));
        match part {
            Part::Auth => pool(self.auth.pool().in_flight(), self.auth.pool().workers()),
            Part::Pdf => pool(self.pdf.in_flight(), self.pdf.workers()),
            Part::Media => pool(self.media.in_flight(), self.media.workers()),
            Part::Mail => pool(self.mail.in_flight(), self.mail.workers()),
            Part::Payment => pool(self.payment.in_flight(), self.payment.workers()),
            Part::Outbox | Part::Inbox | Part::Sweeper => node(1, 0, Vec::new()),
            Part::Invoices => node(1, self.invoices.waiting(), vec![self.shards()]),
        }
    }

    fn shards(&self) -> TreeNode {
        let invoices = TreeNode {
            name: "invoice".to_owned(),
            count: self.invoices.live_count(),
            queue_len: self.invoices.waiting(),
            restarts: 0,
            children: Vec::new(),
        };
        TreeNode {
            name: "shard".to_owned(),
            count: self.invoices.shards_running(),
            queue_len: 0,
            restarts: self.invoices.shard_restarts(),
            children: vec![invoices],
        }
    }
}

async fn spawn<A: Actor<Arguments = ()>>(actor: A, root: ActorCell) -> Result<ActorCell, SpawnErr> {
    let (actor, _) = Actor::spawn_linked(None, actor, (), root).await?;
    Ok(actor.get_cell())
}

fn workers(count: usize) -> Vec<TreeNode> {
    vec![TreeNode {
        name: "worker".to_owned(),
        count: count as u64,
        queue_len: 0,
        restarts: 0,
        children: Vec::new(),
    }]
}

struct Root {
    parts: Parts,
    /// Says why the node can't go on.
    fatal: watch::Sender<Option<String>>,
}

struct RootState {
    children: HashMap<ActorId, Part>,
    restarts: Restarts,
}

impl Actor for Root {
    type Msg = ();
    type State = RootState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        (): (),
    ) -> Result<RootState, ActorProcessingErr> {
        let mut children = HashMap::new();
        for part in Part::ALL {
            let child = self.parts.spawn(part, myself.get_cell()).await?;
            children.insert(child.get_id(), part);
        }
        Ok(RootState {
            children,
            restarts: Restarts::default(),
        })
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let (actor, reason) = match event {
            SupervisionEvent::ActorFailed(actor, error) => (actor, error.to_string()),
            SupervisionEvent::ActorTerminated(actor, _, reason) => {
                (actor, reason.unwrap_or_else(|| "it stopped".to_owned()))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {
                return Ok(());
            }
        };
        let Some(part) = state.children.remove(&actor.get_id()) else {
            return Ok(());
        };
        tracing::error!(
            part = part.name(),
            reason,
            "a part went down and is started again"
        );
        if let Err(error) = self.restart(&myself, state, part).await {
            let reason = format!("the part {} can't be kept running: {error}", part.name());
            self.fatal.send_replace(Some(reason));
        }
        Ok(())
    }
}

impl Root {
    async fn restart(
        &self,
        myself: &ActorRef<()>,
        state: &mut RootState,
        part: Part,
    ) -> Result<(), ActorProcessingErr> {
        state.restarts.note(self.parts.clock.now())?;
        self.parts.restarts[part as usize].fetch_add(1, Ordering::Relaxed);
        metrics::counter!("faktor_restarts_total", "part" => part.name()).increment(1);
        let child = self.parts.spawn(part, myself.get_cell()).await?;
        state.children.insert(child.get_id(), part);
        Ok(())
    }
}

/// What a node says of itself. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    parts: Parts,
    draining: Arc<AtomicBool>,
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeHandle")
    }
}

impl NodeHandle {
    /// The supervision tree with counts and queue lengths.
    pub fn tree(&self) -> TreeNode {
        self.parts.tree()
    }

    /// Each dependency and its state.
    pub async fn dependencies(&self) -> Vec<Dependency> {
        let store: &Arc<dyn InvoiceStore> = &self.parts.stores.invoices;
        let shards = self.parts.invoices.shards_running();
        let shards = if shards == u64::from(SHARDS) {
            Ok(())
        } else {
            Err(format!("{shards} of {SHARDS} shards are running"))
        };
        vec![
            dependency(
                "store",
                store.ping().await.map_err(|error| error.to_string()),
            ),
            dependency(
                "media",
                self.parts
                    .media_store
                    .ping()
                    .await
                    .map_err(|error| error.to_string()),
            ),
            dependency("shards", shards),
        ]
    }

    /// True from the start of the drain on.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

fn dependency(name: &str, state: Result<(), String>) -> Dependency {
    Dependency {
        name: name.to_owned(),
        ok: state.is_ok(),
        detail: state.err(),
    }
}

/// The running actors of a node.
pub struct RunningActors {
    root: ActorRef<()>,
    stopped: tokio::task::JoinHandle<()>,
    parts: Parts,
    handle: NodeHandle,
    fatal: watch::Receiver<Option<String>>,
}

impl RunningActors {
    /// Starts every part under its root.
    pub async fn start(parts: Parts) -> Result<Self, SpawnErr> {
        let (sender, fatal) = watch::channel(None);
        let root = Root {
            parts: parts.clone(),
            fatal: sender,
        };
        let (root, stopped) = Actor::spawn(None, root, ()).await?;
        let handle = NodeHandle {
            parts: parts.clone(),
            draining: Arc::default(),
        };
        Ok(Self {
            root,
            stopped,
            parts,
            handle,
            fatal,
        })
    }

    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Resolves with the reason when the node can't go on.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.clone();
        let reason = fatal
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "the root of the supervision tree went down".to_owned())
    }

    /// From now on the node says that it is not ready.
    pub fn begin_drain(&self) {
        self.handle.draining.store(true, Ordering::Relaxed);
    }

    /// Lets what is under way come to its end, at most for `patience`, then stops every actor.
    pub async fn stop(self, patience: Duration) {
        self.begin_drain();
        let deadline = tokio::time::Instant::now() + patience;
        while (self.parts.invoices.effects_running() > 0 || self.parts.invoices.waiting() > 0)
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.root.stop(Some("the node is shutting down".to_owned()));
        // A root that crashed is stopped all the same.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.stopped).await;
    }
}
