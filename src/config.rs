//! Configuration: the documented file, overridden by a file and the environment, checked as a whole.

use serde::Deserialize;

mod check;
mod load;
mod print;
#[cfg(test)]
mod tests;

pub use load::{ConfigError, ConfigErrors, Effective, Origin};

/// The compiled-in defaults: the documented file itself.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// Everything that can be set. `config.toml` says what each key means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub storage: Storage,
    pub cache: Cache,
    pub events: Events,
    pub actors: Actors,
    pub effects: Effects,
    pub pools: Pools,
    pub mail: Mail,
    pub payments: Payments,
    pub auth: Auth,
    pub oidc: Oidc,
    pub cluster: Cluster,
    pub log: Log,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: std::net::SocketAddr,
    /// Without a trailing slash once the server listens.
    pub public_url: String,
    pub header_timeout_s: u64,
    pub request_timeout_s: u64,
    pub drain_timeout_s: u64,
    pub max_connections: usize,
    pub start_timeout_s: u64,
    pub allowed_origins: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    pub data_dir: std::path::PathBuf,
    /// Empty: SQLite in `data_dir`.
    pub relational: Secret,
    /// Empty: in the relational store.
    pub invoices: Secret,
    /// Empty: files in `data_dir`.
    pub documents: Secret,
    pub max_connections: u32,
    pub connect_timeout_ms: u64,
    pub statement_timeout_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Empty: none.
    pub url: Secret,
    pub key_prefix: String,
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Empty: none.
    pub url: Secret,
    pub topic_prefix: String,
    pub create_topics: bool,
    /// 0: the brokers' default.
    pub topic_partitions: u16,
    /// 0: the brokers' default.
    pub topic_replication: u16,
    pub timeout_ms: u64,
}

impl Events {
    /// The brokers as in `host:9092,host:9092`; `None` when there are none.
    pub fn brokers(&self) -> Option<&str> {
        check::brokers(self.url.expose())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actors {
    pub idle_after_s: u64,
    pub max_live_invoices: usize,
    pub max_waiting_per_invoice: usize,
    pub max_waiting: usize,
    pub sweep_interval_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effects {
    pub first_delay_ms: u64,
    pub max_delay_ms: u64,
    pub max_attempts: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pools {
    pub pdf_workers: usize,
    pub pdf_queue: usize,
    pub media_workers: usize,
    pub media_queue: usize,
    pub mail_workers: usize,
    pub mail_queue: usize,
    pub payment_workers: usize,
    pub payment_queue: usize,
    pub auth_workers: usize,
    pub auth_queue: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Empty: the spool.
    pub url: Secret,
    pub timeout_ms: u64,
    pub from: String,
    pub from_name: String,
    pub per_domain_per_minute: u32,
    pub per_host_per_minute: u32,
    pub max_connections: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payments {
    pub provider: PaymentProvider,
    pub secret_key: Secret,
    pub api_url: String,
    pub timeout_ms: u64,
    pub reconcile_interval_s: u64,
    pub webhook_secret: Secret,
    pub previous_webhook_secret: Secret,
    pub webhook_tolerance_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentProvider {
    Sandbox,
    Stripe,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub access_token_ttl_s: u64,
    pub refresh_token_ttl_s: u64,
    pub signing_key_rotation_s: u64,
    pub cache_ttl_s: u64,
    pub cache_entries: u64,
    pub max_failed_logins: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// Empty: none.
    pub issuer: String,
    pub audience: String,
    pub roles_claim: String,
    /// Empty: any.
    pub organization: String,
    pub create_users: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Empty: the node works alone.
    pub listen: String,
    /// Empty: as `listen`.
    pub advertise: String,
    /// Empty: as `advertise`.
    pub node_name: String,
    pub cookie: Secret,
    pub tls_cert: String,
    pub tls_key: String,
    pub tls_ca: String,
    pub lease_ttl_ms: u64,
}

impl Cluster {
    /// Where this node listens for others; `None` when it works alone.
    pub fn listen_address(&self) -> Option<std::net::SocketAddr> {
        self.listen.parse().ok()
    }

    /// Whether nodes prove themselves to each other by certificates.
    pub fn has_tls(&self) -> bool {
        !self.tls_cert.is_empty()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Human,
    Json,
}

/// A secret: never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: String) -> Self {
        Self(value)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}
