//! What each setting may be.

use std::net::SocketAddr;

use toml::Value;

use super::{Config, Oidc, PaymentProvider, Payments};
use crate::domain::ids::OrganizationId;

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// A whole number from and to, both allowed.
    Number(i64, i64),
    Address,
    /// An address and port, or nothing.
    OptionalAddress,
    /// `host:port`, or nothing.
    HostAndPort,
    /// A web address, or nothing.
    PublicUrl,
    /// A web address.
    WebUrl,
    /// A backend's address, which may hold a password: `scheme://…` with one of these, or nothing.
    Backend(&'static [&'static str]),
    /// The addresses of Kafka's brokers, or nothing.
    Brokers,
    /// The beginning of the names of topics or keys.
    Topic,
    /// A list of `scheme://host[:port]`.
    Origins,
    Path,
    Email,
    /// One line, possibly empty.
    Line,
    OneOf(&'static [&'static str]),
    /// true or false.
    /// A secret of some length, or nothing.
    Secret,
    LogFilter,
    /// An organization's id, or nothing.
    Organization,
    /// Yes or no.
    Flag,
}

/// The shortest secret worth the name, in characters.
const MIN_SECRET_CHARS: usize = 16;
const DAY_S: i64 = 86_400;
const YEAR_S: i64 = 366 * DAY_S;

const RULES: &[(&str, Rule)] = &[
    ("server.listen", Rule::Address),
    ("server.public_url", Rule::PublicUrl),
    ("server.header_timeout_s", Rule::Number(1, 600)),
    ("server.request_timeout_s", Rule::Number(1, 600)),
    ("server.drain_timeout_s", Rule::Number(0, 3_600)),
    ("server.max_connections", Rule::Number(1, 1_000_000)),
    ("server.start_timeout_s", Rule::Number(0, 3_600)),
    ("server.allowed_origins", Rule::Origins),
    ("storage.data_dir", Rule::Path),
    (
        "storage.relational",
        Rule::Backend(&["postgres", "postgresql"]),
    ),
    (
        "storage.invoices",
        Rule::Backend(&["mongodb", "mongodb+srv"]),
    ),
    (
        "storage.documents",
        Rule::Backend(&["mongodb", "mongodb+srv", "s3", "cloudinary"]),
    ),
    ("storage.max_connections", Rule::Number(2, 1_000)),
    ("storage.connect_timeout_ms", Rule::Number(10, 120_000)),
    ("storage.statement_timeout_ms", Rule::Number(10, 600_000)),
    ("cache.url", Rule::Backend(&["redis", "rediss"])),
    ("cache.key_prefix", Rule::Topic),
    ("cache.timeout_ms", Rule::Number(10, 60_000)),
    ("events.url", Rule::Brokers),
    ("events.topic_prefix", Rule::Topic),
    ("events.create_topics", Rule::Flag),
    ("events.topic_partitions", Rule::Number(0, 10_000)),
    ("events.topic_replication", Rule::Number(0, 100)),
    ("events.timeout_ms", Rule::Number(1_000, 600_000)),
    ("actors.idle_after_s", Rule::Number(1, DAY_S)),
    ("actors.max_live_invoices", Rule::Number(1, 10_000_000)),
    ("actors.max_waiting_per_invoice", Rule::Number(1, 1_000_000)),
    ("actors.max_waiting", Rule::Number(1, 10_000_000)),
    ("actors.sweep_interval_ms", Rule::Number(10, 60_000)),
    ("effects.first_delay_ms", Rule::Number(1, 3_600_000)),
    ("effects.max_delay_ms", Rule::Number(1, DAY_S * 1_000)),
    ("effects.max_attempts", Rule::Number(1, 100)),
    ("pools.pdf_workers", WORKERS),
    ("pools.pdf_queue", QUEUE),
    ("pools.media_workers", WORKERS),
    ("pools.media_queue", QUEUE),
    ("pools.mail_workers", WORKERS),
    ("pools.mail_queue", QUEUE),
    ("pools.payment_workers", WORKERS),
    ("pools.payment_queue", QUEUE),
    ("pools.auth_workers", WORKERS),
    ("pools.auth_queue", QUEUE),
    ("mail.url", Rule::Backend(&["smtp", "smtps"])),
    // An effect is given up after three minutes, one of which it may have waited.
    ("mail.timeout_ms", Rule::Number(100, 100_000)),
    ("mail.from", Rule::Email),
    ("mail.from_name", Rule::Line),
    ("mail.per_domain_per_minute", Rule::Number(1, 1_000_000)),
    ("mail.per_host_per_minute", Rule::Number(1, 1_000_000)),
    ("mail.max_connections", Rule::Number(1, 1_000)),
    ("payments.provider", Rule::OneOf(&["sandbox", "stripe"])),
    ("payments.secret_key", Rule::Secret),
    ("payments.api_url", Rule::WebUrl),
    ("payments.timeout_ms", Rule::Number(10, 120_000)),
    ("payments.reconcile_interval_s", Rule::Number(1, DAY_S)),
    ("payments.webhook_secret", Rule::Secret),
    ("payments.previous_webhook_secret", Rule::Secret),
    ("payments.webhook_tolerance_s", Rule::Number(1, DAY_S)),
    ("auth.access_token_ttl_s", Rule::Number(1, DAY_S)),
    ("auth.refresh_token_ttl_s", Rule::Number(1, YEAR_S)),
    ("auth.signing_key_rotation_s", Rule::Number(60, YEAR_S)),
    // A revoked token must not live on for longer than five seconds in any node.
    ("auth.cache_ttl_s", Rule::Number(0, 5)),
    ("auth.cache_entries", Rule::Number(0, 10_000_000)),
    ("auth.max_failed_logins", Rule::Number(1, 10_000)),
    ("oidc.issuer", Rule::PublicUrl),
    ("oidc.audience", Rule::Line),
    ("oidc.roles_claim", Rule::Line),
    ("oidc.organization", Rule::Organization),
    ("oidc.create_users", Rule::Flag),
    ("cluster.listen", Rule::OptionalAddress),
    ("cluster.advertise", Rule::HostAndPort),
    ("cluster.node_name", Rule::Line),
    ("cluster.cookie", Rule::Secret),
    ("cluster.tls_cert", Rule::Line),
    ("cluster.tls_key", Rule::Line),
    ("cluster.tls_ca", Rule::Line),
    ("cluster.lease_ttl_ms", Rule::Number(1_000, 300_000)),
    ("log.filter", Rule::LogFilter),
    ("log.format", Rule::OneOf(&["auto", "human", "json"])),
];

const WORKERS: Rule = Rule::Number(0, 1_024);
const QUEUE: Rule = Rule::Number(1, 1_000_000);

fn rule(key: &str) -> Option<Rule> {
    RULES
        .iter()
        .find(|(known, _)| *known == key)
        .map(|(_, rule)| *rule)
}

/// Whether a setting's value must not be shown.
pub(super) fn is_secret(key: &str) -> bool {
    matches!(
        rule(key),
        Some(Rule::Secret | Rule::Backend(_) | Rule::Brokers)
    )
}

/// Checks one value by itself. The error says what was given and what is allowed.
pub(super) fn value(key: &str, value: &Value) -> Result<(), String> {
    let Some(rule) = rule(key) else { return Ok(()) };
    if rule.allows(value) {
        return Ok(());
    }
    let given = match rule {
        // A mistaken one may hold a password.
        Rule::Secret | Rule::Backend(_) | Rule::Brokers => "what was given".to_owned(),
        _ => value.to_string(),
    };
    Err(format!(
        "{given} is not allowed; expected {}",
        rule.expectation()
    ))
}

impl Rule {
    fn allows(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Number(from, to), Value::Integer(number)) => (from..=to).contains(number),
            (Self::Origins, Value::Array(origins)) => origins
                .iter()
                .all(|origin| origin.as_str().is_some_and(is_origin)),
            (Self::Flag, Value::Boolean(_)) => true,
            (Self::Number(..) | Self::Origins | Self::Flag, _) => false,
            (rule, Value::String(text)) => rule.allows_text(text),
            _ => false,
        }
    }

    fn allows_text(self, text: &str) -> bool {
        match self {
            Self::Address => text.parse::<SocketAddr>().is_ok(),
            Self::OptionalAddress => text.is_empty() || text.parse::<SocketAddr>().is_ok(),
            Self::HostAndPort => text.is_empty() || (is_broker(text) && has_port(text)),
            Self::PublicUrl => text.is_empty() || is_public_url(text),
            Self::WebUrl => is_public_url(text),
            Self::Backend(schemes) => text.is_empty() || is_backend(text, schemes),
            Self::Brokers => text.is_empty() || brokers(text).is_some(),
            Self::Topic => {
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
                (1..=100).contains(&text.len()) && text.chars().all(allowed)
            }
            Self::Path => !text.is_empty() && !text.contains('\0'),
            Self::Email => text.parse::<lettre::Address>().is_ok() && text.is_ascii(),
            Self::Line => text.len() <= 200 && !text.chars().any(char::is_control),
            Self::OneOf(names) => names.contains(&text),
            Self::Secret => text.is_empty() || text.chars().count() >= MIN_SECRET_CHARS,
            Self::LogFilter => {
                tracing_subscriber::EnvFilter::builder().parse(text).is_ok() && !text.is_empty()
            }
            Self::Organization => text.is_empty() || text.parse::<OrganizationId>().is_ok(),
            Self::Number(..) | Self::Origins | Self::Flag => false,
        }
    }

    fn expectation(self) -> String {
        match self {
            Self::Number(from, to) => format!("a whole number from {from} to {to}"),
            Self::Address => "an address and port such as 127.0.0.1:3300 or [::]:3300".to_owned(),
            Self::OptionalAddress => {
                "an address and port such as 10.0.0.5:3400 or 0.0.0.0:3400, or \"\"".to_owned()
            }
            Self::HostAndPort => {
                "a host and port such as node-1.example.com:3400, or \"\"".to_owned()
            }
            Self::PublicUrl => {
                "a web address such as https://invoices.example.com without ? and #, or \"\""
                    .to_owned()
            }
            Self::WebUrl => "a web address such as https://api.example.com".to_owned(),
            Self::Backend(schemes) => format!(
                "an address that begins with {}, or \"\"",
                schemes
                    .iter()
                    .map(|scheme| format!("{scheme}://"))
                    .collect::<Vec<_>>()
                    .join(" or ")
            ),
            Self::Brokers => "kafka://host:9092,host:9092 without a user (this build speaks to \
                 Kafka without TLS and SASL), or \"\""
                .to_owned(),
            Self::Topic => "1 to 100 of a-z, A-Z, 0-9, . _ -".to_owned(),
            Self::Origins => {
                "a list of origins such as https://app.example.com, without a path".to_owned()
            }
            Self::Path => "the path of a directory".to_owned(),
            Self::Email => "an e-mail address such as invoices@example.com".to_owned(),
            Self::Line => "one line of at most 200 bytes".to_owned(),
            Self::OneOf(names) => format!("one of {}", names.join(", ")),
            Self::Secret => format!("a text of at least {MIN_SECRET_CHARS} characters, or \"\""),
            Self::Organization => "an organization's id (org_…), or \"\"".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::LogFilter => {
                "a tracing filter such as \"info\" or \"faktor=debug,warn\"".to_owned()
            }
        }
    }
}

fn parsed_url(text: &str) -> Option<reqwest::Url> {
    let url = reqwest::Url::parse(text).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (is_web && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// Backends read their addresses themselves: some, with several hosts, are no URLs.
fn is_backend(text: &str, schemes: &[&str]) -> bool {
    let rest = schemes
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme)?.strip_prefix("://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.chars().any(|c| c.is_control() || c == ' '))
}

/// Kafka's brokers as in `host:9092,host`, of an address that names them.
pub(super) fn brokers(url: &str) -> Option<&str> {
    let brokers = url.strip_prefix("kafka://")?;
    brokers.split(',').all(is_broker).then_some(brokers)
}

fn has_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

fn is_broker(text: &str) -> bool {
    // The colons of an IPv6 address stand in brackets.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_name = |host: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !host.is_empty() && host.chars().all(allowed)
    };
    let in_brackets = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_host = match in_brackets {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_name(host),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_public_url(text: &str) -> bool {
    parsed_url(text).is_some_and(|url| url.query().is_none() && url.fragment().is_none())
}

fn is_origin(text: &str) -> bool {
    parsed_url(text).is_some_and(|url| url.origin().ascii_serialization() == text)
}

/// Settings that are fine by themselves but don't fit each other: the key to change, and why.
pub(super) fn together(config: &Config) -> Vec<(&'static str, String)> {
    let mut misfits = Vec::new();
    let mut at_most = |(small_key, small): (&'static str, u64), (large_key, large): (&str, u64)| {
        if small > large {
            misfits.push((
                small_key,
                format!("{small} is more than {large_key}, which is {large}"),
            ));
        }
    };
    let (actors, effects, auth) = (&config.actors, &config.effects, &config.auth);
    at_most(
        ("effects.first_delay_ms", effects.first_delay_ms),
        ("effects.max_delay_ms", effects.max_delay_ms),
    );
    at_most(
        (
            "actors.max_waiting_per_invoice",
            actors.max_waiting_per_invoice as u64,
        ),
        ("actors.max_waiting", actors.max_waiting as u64),
    );
    at_most(
        ("auth.access_token_ttl_s", auth.access_token_ttl_s),
        ("auth.refresh_token_ttl_s", auth.refresh_token_ttl_s),
    );
    misfits.extend(oidc_needs(&config.oidc));
    misfits.extend(stripe_needs(&config.payments));
    misfits.extend(cluster_needs(config));
    misfits
}

/// What a node that works with others needs.
fn cluster_needs(config: &Config) -> Vec<(&'static str, String)> {
    let cluster = &config.cluster;
    let Some(listen) = cluster.listen_address() else {
        return Vec::new();
    };
    let mut missing = Vec::new();
    if listen.ip().is_unspecified() && cluster.advertise.is_empty() {
        let reason = "cluster.listen takes every address of this machine, so it must be said which \
                      one other nodes use";
        missing.push(("cluster.advertise", reason.to_owned()));
    }
    if !listen.ip().is_loopback() && cluster.cookie.is_empty() {
        let reason = "cluster.listen can be reached from other machines, which needs a secret that \
                      all nodes share";
        missing.push(("cluster.cookie", reason.to_owned()));
    }
    if !listen.ip().is_loopback() && config.storage.relational.is_empty() {
        let reason = "cluster.listen can be reached from other machines, whose nodes can't share \
                      SQLite: use PostgreSQL";
        missing.push(("storage.relational", reason.to_owned()));
    }
    let files = [
        ("cluster.tls_cert", &cluster.tls_cert),
        ("cluster.tls_key", &cluster.tls_key),
        ("cluster.tls_ca", &cluster.tls_ca),
    ];
    if files.iter().any(|(_, file)| !file.is_empty()) {
        for (key, _) in files.iter().filter(|(_, file)| file.is_empty()) {
            let reason = "TLS between nodes needs tls_cert, tls_key and tls_ca";
            missing.push((*key, reason.to_owned()));
        }
    }
    missing
}

/// What Stripe can't be used without.
fn stripe_needs(payments: &Payments) -> Vec<(&'static str, String)> {
    if payments.provider != PaymentProvider::Stripe {
        return Vec::new();
    }
    let mut missing = Vec::new();
    if payments.secret_key.is_empty() {
        let reason = "payments.provider is stripe, which needs its secret key (sk_… or rk_…)";
        missing.push(("payments.secret_key", reason.to_owned()));
    }
    if payments.webhook_secret.is_empty() {
        let reason = "payments.provider is stripe, which needs the signing secret of its webhook \
                      endpoint (whsec_…)";
        missing.push(("payments.webhook_secret", reason.to_owned()));
    }
    missing
}

/// What an issuer needs.
fn oidc_needs(oidc: &Oidc) -> Vec<(&'static str, String)> {
    let mut missing = Vec::new();
    if !oidc.issuer.is_empty() && oidc.audience.is_empty() {
        missing.push((
            "oidc.audience",
            "oidc.issuer needs it: what its tokens' aud must contain".to_owned(),
        ));
    }
    if oidc.create_users && oidc.organization.is_empty() {
        missing.push((
            "oidc.organization",
            "oidc.create_users needs it: where users are made".to_owned(),
        ));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_brokers_are_a_list_of_hosts_and_nothing_else() {
        for (url, expected) in [
            ("kafka://h:9092", Some("h:9092")),
            ("kafka://a.example,b-2:1", Some("a.example,b-2:1")),
            ("kafka://[::1]:9092,[::1]", Some("[::1]:9092,[::1]")),
            ("kafka+ssl://h:9093", None),
            ("kafka://user:password@h:9092", None),
            ("kafka://h:9092/topic", None),
            ("kafka://h:9092?acks=0", None),
            ("kafka://h:0", None),
            ("kafka://h:70000", None),
            ("kafka://h:1,", None),
            ("kafka://::1", None),
            ("kafka://", None),
            ("", None),
        ] {
            assert_eq!(brokers(url), expected, "{url}");
        }
    }

    #[test]
    fn every_setting_has_a_rule_and_every_rule_a_setting() {
        let table: toml::Table = super::super::DEFAULTS.parse().unwrap();
        let mut settings: Vec<_> = table
            .iter()
            .flat_map(|(section, keys)| {
                keys.as_table()
                    .unwrap()
                    .keys()
                    .map(move |key| format!("{section}.{key}"))
            })
            .collect();
        let mut ruled: Vec<_> = RULES.iter().map(|(key, _)| (*key).to_owned()).collect();
        settings.sort();
        ruled.sort();
        assert_eq!(settings, ruled);
    }
}
