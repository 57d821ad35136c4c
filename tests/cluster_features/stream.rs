//! A reader of one invoice's event stream, who comes back when it ends and notes when each event came.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Response};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::site::{LOOK, Site};

#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) version: u64,
    pub(crate) kind: String,
    pub(crate) at: Instant,
}

pub(crate) struct Reader {
    told: Arc<Mutex<Vec<Told>>>,
    /// How often a stream was opened.
    opened: Arc<Mutex<u32>>,
    reading: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Reader {
    pub(crate) fn open(site: &Site, node: usize, id: &str) -> Self {
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let opened = Arc::<Mutex<u32>>::default();
        let way = Way {
            // No time-out: a stream is open for long.
            http: Client::new(),
            url: format!("{}/v1/invoices/{id}/events", site.base(node)),
            token: site.cluster.token.clone(),
            told: Arc::clone(&told),
            opened: Arc::clone(&opened),
        };
        Self {
            told,
            opened,
            reading: tokio::spawn(way.read_on()),
        }
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        let told = self.told.lock();
        told.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn times_opened(&self) -> u32 {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a version was told; when that was.
    pub(crate) async fn until(&self, version: u64, within: Duration) -> Instant {
        let deadline = Instant::now() + within;
        loop {
            if let Some(told) = self.told().into_iter().find(|it| it.version >= version) {
                return told.at;
            }
            assert!(
                Instant::now() < deadline,
                "version {version} was not told within {within:?}: {:?}",
                self.told()
            );
            sleep(LOOK / 4).await;
        }
    }
}

struct Way {
    http: Client,
    url: String,
    token: String,
    told: Arc<Mutex<Vec<Told>>>,
    opened: Arc<Mutex<u32>>,
}

impl Way {
    async fn read_on(self) {
        loop {
            let last = self.lock().last().map_or(0, |told| told.version);
            let request = self.http.get(&self.url).bearer_auth(&self.token);
            let request = request.header("last-event-id", last.to_string());
            if let Ok(answer) = request.send().await
                && answer.status() == 200
            {
                *self.opened.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                self.read(answer).await;
            }
            sleep(LOOK).await;
        }
    }

    async fn read(&self, mut answer: Response) {
        let mut read = String::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            read.push_str(&String::from_utf8_lossy(&chunk));
            while let Some((event, rest)) = read.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|text| text.trim().to_owned())
                };
                if let (Some(id), Some(kind)) = (field("id:"), field("event:")) {
                    let told = Told {
                        version: id.parse().expect("a version"),
                        kind,
                        at: Instant::now(),
                    };
                    self.lock().push(told);
                }
                read = rest.to_owned();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
