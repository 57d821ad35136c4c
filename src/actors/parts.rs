//! The parts of a node: put together once, started and restarted by the root.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ractor::{Actor, ActorCell, SpawnErr};
use serde::Serialize;
use tokio::time::Duration;

use super::auth_cache::AuthHandle;
use super::documents::DocumentsHandle;
use super::effects::{EffectRunner, EffectTools};
use super::exporter::{Exporter, ExporterHandle};
use super::inbox::{Inbox, InboxHandle};
use super::invoices::{Invoices, InvoicesHandle, Represent};
use super::mail::MailWork;
use super::media::MediaWork;
use super::outbox::{Outbox, OutboxHandle};
use super::ownership::Ownership;
use super::payment::PaymentWork;
use super::pdf::PdfWork;
use super::pool::{Pool, PoolSize};
use super::probe::Probe;
use super::reconcile::Reconcile;
use super::sweeper::Sweeper;
use crate::clock::Clock;
use crate::config::Config;
use crate::outbound::events::Events;
use crate::outbound::mail::Mail;
use crate::outbound::media::Media;
use crate::outbound::payment::Payments;
use crate::render::RenderContext;
use crate::store::Stores;
use crate::store::cache::SharedCache;

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

/// The parts that the root starts, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Auth,
    Pdf,
    Media,
    Mail,
    Payment,
    Outbox,
    Exporter,
    Invoices,
    Inbox,
    Sweeper,
    Reconcile,
}

impl Part {
    pub(super) const ALL: [Self; 11] = [
        Self::Auth,
        Self::Pdf,
        Self::Media,
        Self::Mail,
        Self::Payment,
        Self::Outbox,
        Self::Exporter,
        Self::Invoices,
        Self::Inbox,
        Self::Sweeper,
        Self::Reconcile,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth_cache",
            Self::Pdf => "pdf",
            Self::Media => "media",
            Self::Mail => "mail",
            Self::Payment => "payment",
            Self::Outbox => "outbox",
            Self::Exporter => "exporter",
            Self::Invoices => "invoices",
            Self::Inbox => "inbox",
            Self::Sweeper => "sweeper",
            Self::Reconcile => "reconcile",
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
    /// Where public events go besides the feed, if anywhere.
    pub events: Option<Events>,
    pub context: RenderContext,
    pub auth: AuthHandle,
    pub cache: SharedCache,
    /// How readiness asks after the backends.
    pub probes: Vec<Probe>,
    /// Which invoices are this node's.
    pub ownership: Ownership,
    /// How the edge writes an invoice.
    pub represent: Arc<Represent>,
}

/// Every part with its handle: what the root starts and the edge uses.
#[derive(Clone)]
pub struct Parts {
    pub invoices: InvoicesHandle,
    pub auth: AuthHandle,
    pub documents: DocumentsHandle,
    pub inbox: InboxHandle,
    pub outbox: OutboxHandle,
    exporter: Option<ExporterHandle>,
    pdf: Pool<PdfWork>,
    media: Pool<MediaWork>,
    mail: Pool<MailWork>,
    payment: Pool<PaymentWork>,
    pub(super) probes: Arc<[Probe]>,
    payments: Arc<Payments>,
    pub(super) stores: Stores,
    pub(super) clock: Clock,
    sweep_interval: Duration,
    reconcile_interval: Duration,
    pub(super) restarts: Arc<[AtomicU64; Part::ALL.len()]>,
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
            events,
            context,
            auth,
            cache,
            mut probes,
            ownership,
            represent,
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
            MediaWork { media },
            PoolSize {
                workers: pools.media_workers,
                queue: pools.media_queue,
            },
        );
        let mail = Pool::new(
            MailWork::new(mail, clock.clone(), &config.mail, cache),
            PoolSize {
                workers: pools.mail_workers,
                queue: pools.mail_queue,
            },
        );
        let provider_timeout = payments.patience(Duration::from_millis(config.payments.timeout_ms));
        let payment = Pool::new(
            PaymentWork::new(Arc::clone(&payments), clock.clone(), provider_timeout),
            PoolSize {
                workers: pools.payment_workers,
                queue: pools.payment_queue,
            },
        );
        let outbox = OutboxHandle::new();
        let exporter = events.map(|events| {
            let feed = Arc::clone(&stores.feed);
            ExporterHandle::new(
                feed,
                events,
                outbox.clone(),
                clock.clone(),
                ownership.clone(),
            )
        });
        probes.extend(exporter.as_ref().map(ExporterHandle::probe));
        let invoices = InvoicesHandle::new(
            &stores,
            clock.clone(),
            outbox.clone(),
            &config.actors,
            ownership.clone(),
            represent,
        );
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
            inbox: InboxHandle::new(Arc::clone(&stores.inbox), clock.clone(), ownership),
            sweep_interval: Duration::from_millis(config.actors.sweep_interval_ms),
            reconcile_interval: Duration::from_secs(config.payments.reconcile_interval_s),
            invoices,
            auth,
            documents,
            outbox,
            exporter,
            pdf,
            media: media_pool,
            mail,
            payment,
            probes: probes.into(),
            payments,
            stores,
            clock,
            restarts: Arc::default(),
        }
    }

    /// The parts that this node has, in the order in which they are started.
    pub(super) fn present(&self) -> impl Iterator<Item = Part> {
        let has_exporter = self.exporter.is_some();
        let has_event_list = !self.payments.event_types().is_empty();
        Part::ALL.into_iter().filter(move |part| match part {
            Part::Exporter => has_exporter,
            Part::Reconcile => has_event_list,
            _ => true,
        })
    }

    /// Starts a part that is [present](Self::present).
    pub(super) async fn spawn(&self, part: Part, root: ActorCell) -> Result<ActorCell, SpawnErr> {
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
            Part::Exporter => match self.exporter.clone() {
                Some(handle) => spawn(Exporter { handle }, root).await,
                None => Err(SpawnErr::StartupFailed("events go nowhere".into())),
            },
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
                    inbox: Arc::clone(&self.stores.inbox),
                    invoices: self.invoices.clone(),
                    clock: self.clock.clone(),
                    interval: self.sweep_interval,
                };
                spawn(sweeper, root).await
            }
            Part::Reconcile => {
                let reconcile = Reconcile {
                    payments: Arc::clone(&self.payments),
                    inbox: self.inbox.clone(),
                    ownership: self.invoices.ownership().clone(),
                    clock: self.clock.clone(),
                    interval: self.reconcile_interval,
                };
                spawn(reconcile, root).await
            }
        }
    }

    pub(super) fn tree(&self) -> TreeNode {
        let children = self.present().map(|part| self.tree_of(part)).collect();
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
            Part::Exporter => {
                let waiting = self.exporter.as_ref().map_or(0, ExporterHandle::waiting);
                node(1, waiting, Vec::new())
            }
            Part::Outbox | Part::Inbox | Part::Sweeper | Part::Reconcile => node(1, 0, Vec::new()),
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
