//! A proxy in front of one server, which can be told to misbehave.

use reqwest::Client;
use serde_json::{Value, json};

use super::backends::backend;

/// What the way to a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Each answer comes two seconds late.
    Delay,
    /// Each connection ends in the middle of an answer.
    Cut,
    /// Nobody listens.
    Refuse,
}

pub(crate) const FAULTS: [Fault; 3] = [Fault::Delay, Fault::Cut, Fault::Refuse];

/// One proxy of a running Toxiproxy; it goes with the test's process.
pub(crate) struct Proxy {
    client: Client,
    /// The proxy's address in Toxiproxy's API.
    api: String,
    /// `host:port` to connect to.
    pub(crate) address: String,
}

impl Proxy {
    /// A new proxy on a free port. `server` is a URL or `host:port`; `None` without Toxiproxy.
    pub(crate) async fn to(server: &str) -> Option<Self> {
        let toxiproxy = backend("TOXIPROXY")?;
        let name = format!("test-{}", faktor::clock::random_hex::<8>());
        let body = json!({"name": name, "listen": "127.0.0.1:0", "upstream": host_of(server)});
        let client = Client::new();
        let made: Value = client
            .post(format!("{toxiproxy}/proxies"))
            .json(&body)
            .send()
            .await
            .expect("Toxiproxy's answer")
            .json()
            .await
            .expect("a proxy");
        Some(Self {
            client,
            api: format!("{toxiproxy}/proxies/{name}"),
            address: made["listen"].as_str().expect("an address").to_owned(),
        })
    }

    /// The proxy that stands in front of a server for all tests: for Kafka, which tells its clients
    /// where to connect.
    pub(crate) fn standing(name: &str, address: &str) -> Option<Self> {
        let toxiproxy = backend("TOXIPROXY")?;
        Some(Self {
            client: Client::new(),
            api: format!("{toxiproxy}/proxies/{name}"),
            address: address.to_owned(),
        })
    }

    /// The server's URL, by way of the proxy.
    pub(crate) fn url(&self, server: &str) -> String {
        server.replacen(&host_of(server), &self.address, 1)
    }

    pub(crate) async fn begin(&self, fault: Fault) {
        match fault {
            Fault::Refuse => self.set(json!({"enabled": false})).await,
            Fault::Delay => self.add("latency", json!({"latency": 2_000})).await,
            Fault::Cut => self.add("limit_data", json!({"bytes": 300})).await,
        }
    }

    pub(crate) async fn heal(&self) {
        for toxic in ["latency", "limit_data"] {
            // One that is not there is fine.
            let gone = self.client.delete(format!("{}/toxics/{toxic}", self.api));
            gone.send().await.expect("Toxiproxy's answer");
        }
        self.set(json!({"enabled": true})).await;
    }

    pub(crate) async fn remove(&self) {
        self.client
            .delete(&self.api)
            .send()
            .await
            .expect("Toxiproxy's answer");
    }

    async fn set(&self, change: Value) {
        let answer = self.client.post(&self.api).json(&change).send().await;
        assert!(answer.expect("Toxiproxy's answer").status().is_success());
    }

    async fn add(&self, kind: &str, attributes: Value) {
        let toxic =
            json!({"name": kind, "type": kind, "stream": "downstream", "attributes": attributes});
        let answer = self
            .client
            .post(format!("{}/toxics", self.api))
            .json(&toxic)
            .send()
            .await;
        assert!(answer.expect("Toxiproxy's answer").status().is_success());
    }
}

/// `host:port` of a URL with or without a scheme, a user and a path.
fn host_of(server: &str) -> String {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest).to_owned()
}
