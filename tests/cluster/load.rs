//! Clients that go on asking for all sorts of things, the same for the same seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use faktor::domain::ids::InvoiceId;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Clients, Wish, draft};
use crate::cluster::Cluster;
use crate::domain_fixture::Random;
use crate::recording::{Kind, Operation};

/// Invoices that clients have in hand at the same time: few, so that they meet.
const IN_HAND: usize = 24;
/// Of a client, on average, between two requests.
const THINKING_MS: u64 = 120;

/// An invoice as a client saw it last.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) id: InvoiceId,
    version: u64,
    pub(crate) status: String,
    /// Requests since it was made.
    turns: u32,
}

/// What all clients have in hand.
pub(crate) type InHand = Arc<Mutex<Vec<Known>>>;

/// Clients at work.
pub(crate) struct Load {
    pub(crate) clients: Arc<Clients>,
    pub(crate) in_hand: InHand,
    working: JoinSet<()>,
    stopping: Arc<AtomicBool>,
}

impl Load {
    pub(crate) fn start(cluster: &Cluster, seed: u64, count: u64) -> Self {
        let clients = Clients::of(cluster);
        let stopping = Arc::new(AtomicBool::new(false));
        let in_hand = InHand::default();
        let mut working = JoinSet::new();
        for number in 0..count {
            let client = LoadClient {
                clients: Arc::clone(&clients),
                in_hand: Arc::clone(&in_hand),
                random: Random::new(seed.wrapping_mul(1_000).wrapping_add(number)),
                name: format!("s{seed}c{number}"),
                asked: 0,
            };
            working.spawn(client.work(Arc::clone(&stopping)));
        }
        Self {
            clients,
            in_hand,
            working,
            stopping,
        }
    }

    /// Waits until every client has its last answer; what was recorded.
    pub(crate) async fn finish(mut self) -> Vec<Operation> {
        self.stopping.store(true, Ordering::Relaxed);
        while let Some(ended) = self.working.join_next().await {
            ended.expect("a client that comes to its end");
        }
        self.clients.recording()
    }
}

struct LoadClient {
    clients: Arc<Clients>,
    in_hand: InHand,
    random: Random,
    name: String,
    asked: u64,
}

impl LoadClient {
    async fn work(mut self, stopping: Arc<AtomicBool>) {
        while !stopping.load(Ordering::Relaxed) {
            let wish = self.wish();
            let node = usize::try_from(self.random.below(1_000)).unwrap_or(0);
            let operation = self.clients.ask(wish, node).await;
            self.remember(&operation);
            let thinking = self.random.below(2 * THINKING_MS);
            sleep(Duration::from_millis(thinking)).await;
        }
    }

    fn wish(&mut self) -> Wish {
        self.asked += 1;
        let key = format!("{}-{}", self.name, self.asked);
        match self.pick() {
            None => {
                let body = draft(&key, 1 + self.random.below(1_000));
                Wish {
                    body,
                    is_keyed: !self.random.one_in(10),
                    ..Wish::create(key)
                }
            }
            Some(known) => self.wish_for(key, &known),
        }
    }

    /// None: make a new one.
    fn pick(&mut self) -> Option<Known> {
        let in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if in_hand.len() < IN_HAND && (in_hand.len() < IN_HAND / 2 || self.random.one_in(4)) {
            return None;
        }
        Some(self.random.pick(&in_hand).clone())
    }

    fn wish_for(&mut self, key: String, known: &Known) -> Wish {
        let kind = self.kind_for(&known.status);
        // Now and then an old version, which is refused.
        let version = (kind == Kind::Edit || self.random.one_in(10)).then_some(known.version);
        let body = self.body(&kind, &key);
        // What can be told from its words alone is now and then asked for without a key, and once.
        let can_do_without = kind == Kind::RecordPayment && self.random.one_in(4);
        Wish {
            version: version.filter(|_| kind != Kind::Read),
            is_keyed: !matches!(kind, Kind::Edit | Kind::Read) && !can_do_without,
            invoice: Some(known.id),
            key,
            kind,
            body,
        }
    }

    /// Mostly what makes sense, now and then what does not.
    fn kind_for(&mut self, status: &str) -> Kind {
        let pay = Kind::Pay(self.payment_method());
        let any = [
            Kind::Read,
            Kind::Edit,
            Kind::Finalize,
            Kind::Send,
            pay.clone(),
            Kind::RecordPayment,
            Kind::Void,
        ];
        if self.random.one_in(12) {
            return self.random.pick(&any).clone();
        }
        let sensible = match status {
            "draft" | "finalizing" => vec![
                Kind::Read,
                Kind::Edit,
                Kind::Edit,
                Kind::Finalize,
                Kind::Send,
            ],
            "open" => vec![
                Kind::Read,
                Kind::Send,
                pay.clone(),
                pay,
                Kind::RecordPayment,
                Kind::Void,
            ],
            _ => vec![Kind::Read, Kind::Read, Kind::Send],
        };
        self.random.pick(&sensible).clone()
    }

    fn payment_method(&mut self) -> &'static str {
        match self.random.below(20) {
            0..12 => "pm_ok",
            12..15 => "pm_declined",
            15..17 => "pm_slow",
            17..19 => "pm_lost_reply",
            _ => "pm_unavailable",
        }
    }

    fn body(&mut self, kind: &Kind, key: &str) -> Value {
        match kind {
            Kind::Edit => {
                let changed = draft(key, 1 + self.random.below(1_000));
                json!({"reference": key, "lines": changed["lines"]})
            }
            Kind::Send => json!({"message": key}),
            Kind::Pay(method) => json!({"payment_method": method}),
            Kind::RecordPayment => {
                let amount = format!("{}.00", 1 + self.random.below(300));
                json!({"amount": amount, "method": "bank_transfer", "reference": key})
            }
            Kind::Void => json!({"reason": key}),
            Kind::Create | Kind::Finalize | Kind::Read => json!({}),
        }
    }

    /// Invoices that are done are put away.
    fn remember(&self, operation: &Operation) {
        let Some(id) = operation.invoice else { return };
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if operation.kind == Kind::Create {
            in_hand.push(Known {
                id,
                version: 1,
                status: "draft".to_owned(),
                turns: 0,
            });
        }
        let Some(at) = in_hand.iter().position(|known| known.id == id) else {
            return;
        };
        let known = &mut in_hand[at];
        known.turns += 1;
        if let Some(shown) = operation.shown()
            && shown.version >= known.version
        {
            known.version = shown.version;
            known.status.clone_from(&shown.status);
        }
        let ended = !matches!(known.status.as_str(), "draft" | "finalizing" | "open");
        if (ended && known.turns > 12) || known.turns > 40 {
            in_hand.swap_remove(at);
        }
    }
}
