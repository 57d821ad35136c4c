//! What can happen to a cluster, each as one step that ends with everything mended again.

use std::time::Duration;

use faktor::domain::ids::InvoiceId;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::Wish;
use crate::recording::Reply;
use crate::report::Latencies;
use crate::trial::Trial;

/// Invoices that are written again and again to see when their owner is back.
const PROBED: usize = 36;
const PROBE_PAUSE: Duration = Duration::from_millis(10);
/// How long one probe waits: longer than a node looks for an owner.
const PROBE_PATIENCE: Duration = Duration::from_secs(12);
/// When all must be back, at the latest.
const LATEST: Duration = Duration::from_mins(1);

impl Trial {
    /// Drafts that only the probes know.
    pub(crate) async fn drafts(&mut self, count: usize) -> Vec<InvoiceId> {
        self.probes += 1;
        let clients = &self.load.clients;
        let made = (0..count).map(|number| {
            let key = format!("probe{}-{number}", self.probes);
            clients.ask(Wish::create(key), number)
        });
        let made = join_all(made).await;
        let ids = made.into_iter().map(|made| made.invoice);
        ids.collect::<Option<_>>().expect("drafts")
    }

    /// How long it takes from now until each of the invoices was changed by way of one of `nodes`.
    pub(crate) async fn back_after(&self, invoices: &[InvoiceId], nodes: &[usize]) -> Latencies {
        let began = Instant::now();
        let series = self.load.clients.now().as_micros();
        let clients = &self.load.clients;
        let probes = invoices
            .iter()
            .enumerate()
            .map(|(number, &invoice)| async move {
                for attempt in 0.. {
                    let node = nodes[(number + attempt) % nodes.len()];
                    let wish = Wish::edit(format!("probe{series}-{number}-{attempt}"), invoice);
                    let operation = clients.ask_once(wish, node, PROBE_PATIENCE).await;
                    let reply = operation.attempts.last().map(|attempt| &attempt.reply);
                    if matches!(reply, Some(Reply::Done { .. })) {
                        break;
                    }
                    assert!(
                        began.elapsed() < LATEST,
                        "{invoice} is not back: {operation}"
                    );
                    sleep(PROBE_PAUSE).await;
                }
                began.elapsed()
            });
        Latencies::of(join_all(probes).await)
    }

    /// SIGKILL, all at the same moment; until each invoice is written again by those who are left.
    pub(crate) async fn kill(&mut self, nodes: &[usize]) -> Latencies {
        let drafts = self.drafts(PROBED).await;
        self.note(&format!("kill -9 {}", names(nodes)));
        for &node in nodes {
            self.cluster.kill(node);
        }
        let left = self.cluster.running();
        if left.is_empty() {
            self.cluster.start_nodes(nodes).await;
            let back = self.back_after(&drafts, nodes).await;
            self.note(&format!("all back: {back} after their start"));
            return back;
        }
        let back = self.back_after(&drafts, &left).await;
        self.note(&format!("back after {back}"));
        self.cluster.start_nodes(nodes).await;
        back
    }

    /// SIGSTOP, and SIGCONT after a time. Just before it goes on the node is asked directly, so that it
    /// answers as the first thing it does: if it answers from memory, what it says is stale.
    pub(crate) async fn pause(&mut self, node: usize, time: Duration) -> Latencies {
        let drafts = self.drafts(PROBED).await;
        // Everything is in the memory of whoever owns it.
        let all: Vec<usize> = self.cluster.running();
        self.back_after(&drafts, &all).await;
        self.note(&format!("SIGSTOP n{} for {time:?}", node + 1));
        self.cluster.pause(node).await;
        let over = Instant::now() + time;
        let others: Vec<usize> = all.into_iter().filter(|&other| other != node).collect();
        let back = {
            // A short pause may be over before all are back.
            let resuming = self.resume_at(node, over, &drafts);
            let (back, ()) = tokio::join!(self.back_after(&drafts, &others), resuming);
            back
        };
        self.note(&format!("n{} goes on; back after {back}", node + 1));
        back
    }

    async fn resume_at(&self, node: usize, over: Instant, drafts: &[InvoiceId]) {
        const BEFORE: Duration = Duration::from_millis(300);
        sleep_until(over - BEFORE).await;
        let clients = &self.load.clients;
        let asked = drafts.iter().map(|&invoice| async move {
            let at = clients.now().as_micros();
            let patience = Duration::from_secs(30);
            let read = Wish::read(format!("stale-read{at}-{invoice}"), invoice);
            let write = Wish::edit(format!("stale-write{at}-{invoice}"), invoice);
            tokio::join!(
                clients.ask_once(read, node, patience),
                clients.ask_once(write, node, patience)
            )
        });
        let resume = async {
            sleep(BEFORE).await;
            self.cluster.resume(node);
        };
        tokio::join!(join_all(asked), resume);
    }

    /// Reads at one node, over and over, whatever it says.
    pub(crate) async fn read_directly(&self, drafts: &[InvoiceId], node: usize, until: Instant) {
        let clients = &self.load.clients;
        let readers = drafts.iter().map(|&invoice| async move {
            while Instant::now() < until {
                let at = clients.now().as_micros();
                let wish = Wish::read(format!("direct{at}-{invoice}"), invoice);
                clients.ask_once(wish, node, Duration::from_secs(1)).await;
                sleep(PROBE_PAUSE * 4).await;
            }
        });
        join_all(readers).await;
    }

    /// No word passes between `node` and the others for a time.
    pub(crate) async fn cut_off(
        &mut self,
        node: usize,
        others: &[usize],
        time: Duration,
    ) -> Latencies {
        let drafts = self.drafts(PROBED).await;
        self.note(&format!(
            "the wire between n{} and {} is cut for {time:?}",
            node + 1,
            names(others)
        ));
        for &other in others {
            self.cluster.cut(node, other);
        }
        let over = Instant::now() + time;
        // A client asks whoever answers: an invoice is reached by way of its owner.
        let all = self.cluster.running();
        let mending = async {
            sleep_until(over).await;
            self.cluster.mend();
        };
        let (back, ()) = tokio::join!(self.back_after(&drafts, &all), mending);
        self.note(&format!("mended; every invoice written after {back}"));
        back
    }

    /// SIGTERM, and a start again.
    pub(crate) async fn restart(&mut self, node: usize) {
        self.note(&format!("n{} is stopped in order", node + 1));
        self.cluster.stop(node).await;
        self.note(&format!("n{} is started again", node + 1));
        self.cluster.start_nodes(&[node]).await;
        self.cluster.ready().await;
    }

    /// One more node.
    pub(crate) async fn join(&mut self) -> usize {
        let node = self.cluster.add();
        self.note(&format!("n{} joins", node + 1));
        self.cluster.start_nodes(&[node]).await;
        self.cluster.ready().await;
        node
    }
}

pub(crate) fn names(nodes: &[usize]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| format!("n{}", node + 1)).collect();
    names.join(", ")
}
