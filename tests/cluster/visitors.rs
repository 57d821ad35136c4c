//! Customers who pay on the checkout page, while clients are at work on the same invoices; the same for
//! the same seed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use faktor::domain::ids::InvoiceId;
use futures_util::future::join_all;
use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Clients, reason};
use crate::domain_fixture::Random;
use crate::load::{InHand, Load};
use crate::recording::{Outcome, Visit};

const VISITORS: u64 = 2;
/// Of a visitor, on average: before the button is pressed, and before the next page is looked for.
const THINKING_MS: u64 = 100;
/// How long a look at an invoice may take.
const LOOK: Duration = Duration::from_secs(5);
/// Longer than a node takes to answer that it can't.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a visitor tries a page in a row at most.
const MAX_TRIES: usize = 4;

/// Visitors at work.
pub(crate) struct Visitors {
    visiting: JoinSet<Vec<Visit>>,
    stopping: Arc<AtomicBool>,
}

impl Visitors {
    /// They pay the invoices that the load's clients have in hand.
    pub(crate) fn start(load: &Load, seed: u64) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let browser = Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .redirect(Policy::none())
            .build()
            .expect("a browser");
        let mut visiting = JoinSet::new();
        for number in 0..VISITORS {
            let visitor = Visitor {
                clients: Arc::clone(&load.clients),
                in_hand: Arc::clone(&load.in_hand),
                browser: browser.clone(),
                // Away from the clients', which count from nought.
                random: Random::new(seed.wrapping_mul(1_000).wrapping_add(900 + number)),
                left: HashSet::new(),
                visits: Vec::new(),
            };
            visiting.spawn(visitor.work(Arc::clone(&stopping)));
        }
        Self { visiting, stopping }
    }

    /// Waits until every visitor has the last answer; all visits in the order in which they began.
    pub(crate) async fn finish(self) -> Vec<Visit> {
        self.stopping.store(true, Ordering::Relaxed);
        let mut visits = self.visiting.join_all().await.concat();
        visits.sort_by_key(|visit| visit.began);
        visits
    }
}

struct Visitor {
    clients: Arc<Clients>,
    in_hand: InHand,
    browser: Client,
    random: Random,
    /// Pages that may have been paid, and are left at that.
    left: HashSet<String>,
    visits: Vec<Visit>,
}

/// A page on which an invoice can be paid.
struct Page {
    session: String,
    invoice: InvoiceId,
}

impl Visitor {
    async fn work(mut self, stopping: Arc<AtomicBool>) -> Vec<Visit> {
        while !stopping.load(Ordering::Relaxed) {
            if let Some(page) = self.look().await {
                // Long enough for clients to be quicker.
                self.think().await;
                self.pay(&page).await;
            }
            self.think().await;
        }
        self.visits
    }

    async fn think(&mut self) {
        let thinking = self.random.below(2 * THINKING_MS);
        sleep(Duration::from_millis(thinking)).await;
    }

    /// The page that an invoice in hand shows; none if it shows none, or nobody answers.
    async fn look(&mut self) -> Option<Page> {
        let invoice = self.pick()?;
        let turn = self.turn();
        let path = format!("/v1/invoices/{invoice}");
        let shown = self.clients.look(turn, &path, LOOK).await?;
        let url = shown["payment"]["url"].as_str()?;
        // The address names the node that made the page; each of them has it.
        let session = url.rsplit('/').next()?.to_owned();
        let page = Page { session, invoice };
        (!self.left.contains(&page.session)).then_some(page)
    }

    /// Mostly one that wants to be paid.
    fn pick(&mut self) -> Option<InvoiceId> {
        let in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = in_hand.iter().map(|known| known.id).collect();
        let open = in_hand.iter().filter(|known| known.status == "open");
        let open: Vec<_> = open.map(|known| known.id).collect();
        drop(in_hand);
        let chosen = if open.is_empty() || self.random.one_in(6) {
            all
        } else {
            open
        };
        (!chosen.is_empty()).then(|| *self.random.pick(&chosen))
    }

    fn turn(&mut self) -> usize {
        usize::try_from(self.random.below(1_000)).unwrap_or(0)
    }

    fn method(&mut self) -> &'static str {
        match self.random.below(20) {
            0..13 => "pm_ok",
            13..16 => "pm_declined",
            16..18 => "pm_lost_reply",
            _ => "pm_slow",
        }
    }

    /// Presses the button until it is known that it was pressed; now and then once more when it is not
    /// known what came of it, and now and then twice at the same time.
    async fn pay(&mut self, page: &Page) {
        let method = self.method();
        let mut turn = self.turn();
        let mut clicks = if self.random.one_in(8) { 2 } else { 1 };
        for _ in 0..MAX_TRIES {
            let presses = (turn..turn + clicks).map(|turn| self.press(page, method, turn));
            let told = join_all(presses).await.into_iter().flatten();
            let told: Vec<Visit> = told.collect();
            let is_over = told.iter().any(is_sure);
            let is_nothing = told.iter().all(|visit| !visit.outcome.may_have_paid());
            self.visits.extend(told);
            if is_over {
                return;
            }
            if !is_nothing && !self.random.one_in(3) {
                self.left.insert(page.session.clone());
                return;
            }
            self.think().await;
            turn += clicks;
            clicks = 1;
        }
    }

    /// None: there is no node.
    async fn press(&self, page: &Page, method: &'static str, turn: usize) -> Option<Visit> {
        let (node, base) = self.clients.node(turn)?;
        let began = self.clients.now();
        let request = self
            .browser
            .post(format!("{base}/sandbox/checkout/{}/pay", page.session))
            .form(&[("payment_method", method)])
            .timeout(PATIENCE);
        let outcome = match request.send().await {
            Ok(answer) => outcome(method, answer.status().as_u16()),
            Err(error) if error.is_connect() => Outcome::NotTaken {
                why: reason(&error),
            },
            Err(error) => Outcome::Unknown {
                why: reason(&error),
            },
        };
        Some(Visit {
            session: page.session.clone(),
            invoice: page.invoice,
            method,
            node,
            began,
            ended: self.clients.now(),
            outcome,
        })
    }
}

/// Whether the visitor knows how it is; not when the way back to the shop was lost.
fn is_sure(visit: &Visit) -> bool {
    match visit.outcome {
        Outcome::Paid => visit.method != "pm_lost_reply",
        Outcome::Declined | Outcome::AlreadyPaid | Outcome::Expired | Outcome::Missing => true,
        Outcome::NotTaken { .. } | Outcome::Unknown { .. } | Outcome::Strange { .. } => false,
    }
}

/// What the page's answer says.
fn outcome(method: &str, status: u16) -> Outcome {
    match status {
        303 => Outcome::Paid,
        // It says that the payment was made, and that the way back was lost.
        504 if method == "pm_lost_reply" => Outcome::Paid,
        402 => Outcome::Declined,
        404 => Outcome::Missing,
        409 => Outcome::AlreadyPaid,
        410 => Outcome::Expired,
        429 | 503 => Outcome::Unknown {
            why: status.to_string(),
        },
        status => Outcome::Strange { status },
    }
}
