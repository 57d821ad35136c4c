//! TLS, with a server that has a certificate. They are those of the TLS between nodes: `node` is for
//! `localhost` and 127.0.0.1, `elsewhere` for another host, both signed by `ca`; `stranger` by another authority.

use std::path::Path;
use std::process::Stdio;
use std::str::FromStr;

use faktor::store::StoreError;
use faktor::store::sql::PostgresStore;
use futures_util::future::join_all;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, timeout};

use crate::backends::backend;
use crate::own_server::OwnServer;
use crate::sample::{creation, draft, new_organization};
use crate::{open, options, reason};

const CERTIFICATES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/cluster_links/certificates"
);
const ANOTHER_CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail_smtp/ca.pem");
const PASSWORD: &str = "hush-hush";
/// `faktor` brings its password, `node` a certificate with its name; the operator is let in as is.
const RULES: &str = "\
hostssl all faktor   all scram-sha-256
hostssl all node     all cert
host    all postgres all trust
";
/// How long a node may take to start, or to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn ca() -> String {
    format!("sslrootcert={CERTIFICATES}/ca.pem")
}

/// A connection as the server sees it.
#[derive(Debug, sqlx::FromRow)]
struct Session {
    application_name: String,
    ssl: bool,
    version: Option<String>,
}

struct Server {
    /// The operator's address of it.
    url: String,
    _own: OwnServer,
    /// What it was started with.
    _folder: TempDir,
}

impl Server {
    /// With one of the certificates. `None` when no server was named.
    async fn with(certificate: &str) -> Option<Self> {
        backend("POSTGRES")?;
        let folder = tempfile::tempdir().unwrap();
        let certificates = Path::new(CERTIFICATES);
        for (from, to) in [
            (format!("{certificate}.pem"), "server.pem"),
            (format!("{certificate}.key"), "server.key"),
            ("ca.pem".to_owned(), "ca.pem"),
        ] {
            std::fs::copy(certificates.join(from), folder.path().join(to)).unwrap();
        }
        std::fs::write(folder.path().join("pg_hba.conf"), RULES).unwrap();
        let tls = folder.path().to_str().unwrap().to_owned();
        let own = OwnServer::start_with("POSTGRES", vec![("SERVICES_POSTGRES_TLS", tls)]).await;
        let server = Self {
            url: own.address("POSTGRES"),
            _own: own,
            _folder: folder,
        };
        let users = format!(
            "CREATE ROLE faktor LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE node LOGIN IN ROLE faktor; \
             ALTER DATABASE faktor OWNER TO faktor"
        );
        let mut operator = server.operator().await;
        operator.execute(AssertSqlSafe(users)).await.unwrap();
        Some(server)
    }

    fn url(&self, user: &str, host: &str, parameters: &str) -> String {
        let (_, port_and_database) = self.url.rsplit_once(':').unwrap();
        format!("postgres://{user}@{host}:{port_and_database}?{parameters}")
    }

    /// By its address, with the password.
    fn asked_for(&self, parameters: &str) -> String {
        self.url(&format!("faktor:{PASSWORD}"), "127.0.0.1", parameters)
    }

    async fn operator(&self) -> PgConnection {
        let options = PgConnectOptions::from_str(&self.url).unwrap();
        options.disable_statement_logging().connect().await.unwrap()
    }

    async fn sessions(&self) -> Vec<Session> {
        let mut operator = self.operator().await;
        sqlx::query_as(
            "SELECT application_name, ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE usename IN ('faktor', 'node')",
        )
        .fetch_all(&mut operator)
        .await
        .unwrap()
    }

    /// Writes and reads an invoice by as many connections as the store may have.
    async fn is_used_by_tls_alone(&self, url: &str) {
        let (stores, handle) = open(url).await;
        let invoice = draft(new_organization());
        stores.invoices.commit(creation(&invoice)).await.unwrap();
        for read in join_all((0..20).map(|_| stores.invoices.load(invoice.id))).await {
            assert_eq!(read.unwrap().as_ref(), Some(&invoice), "{url}");
        }
        let sessions = self.sessions().await;
        assert_eq!(sessions.len(), options().max_connections as usize, "{url}");
        for session in sessions {
            assert!(is_safe(&session), "{url}: {session:?}");
        }
        handle.close().await.unwrap();
        // The next ones are told from these.
        self.sessions_when(<[_]>::is_empty).await;
    }

    async fn sessions_when(&self, holds: impl Fn(&[Session]) -> bool) -> Vec<Session> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sessions = self.sessions().await;
            if holds(&sessions) {
                return sessions;
            }
            assert!(Instant::now() < deadline, "still {sessions:?}");
        }
    }

    async fn refuses(&self, url: &str, words: &str) {
        let error = PostgresStore::open(url, options()).await.err();
        let error = error.unwrap_or_else(|| panic!("{url} is accepted"));
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(reason(&error).starts_with(words), "{url}: {error}");
        assert!(!error.to_string().contains(PASSWORD), "{error}");
        self.is_empty().await;
    }

    async fn is_empty(&self) {
        let tables = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'";
        let mut operator = self.operator().await;
        let tables: i64 = sqlx::query_scalar(tables)
            .fetch_one(&mut operator)
            .await
            .unwrap();
        assert_eq!(tables, 0);
    }
}

/// A node whose only backend is the database.
fn node(directory: &TempDir, database: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faktor"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"FAKTOR_") {
            command.env_remove(name);
        }
    }
    command
        .arg("serve")
        .current_dir(directory.path())
        .env("FAKTOR__STORAGE__RELATIONAL", database)
        .env("FAKTOR__SERVER__LISTEN", "127.0.0.1:0")
        .env("FAKTOR__SERVER__START_TIMEOUT_S", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn is_safe(session: &Session) -> bool {
    session.ssl && session.version.as_deref() == Some("TLSv1.3")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_to_a_server_of_the_named_authority_is_encrypted() {
    let Some(server) = Server::with("node").await else {
        return;
    };
    for host in ["127.0.0.1", "localhost"] {
        let parameters = format!("sslmode=verify-full&{}", ca());
        let url = server.url(&format!("faktor:{PASSWORD}"), host, &parameters);
        server.is_used_by_tls_alone(&url).await;
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused_where_the_mode_asks_for_one() {
    let Some(server) = Server::with("node").await else {
        return;
    };
    let unknown = "no TLS with the database: invalid peer certificate: UnknownIssuer";
    for parameters in [
        format!("sslmode=verify-full&sslrootcert={ANOTHER_CA}"),
        format!("sslmode=verify-ca&sslrootcert={ANOTHER_CA}"),
        "sslmode=verify-full".to_owned(),
    ] {
        server
            .refuses(&server.asked_for(&parameters), unknown)
            .await;
    }
    let url = server.asked_for("sslmode=verify-full&sslrootcert=/no/such.pem");
    let missing = "a file or socket that the address names can't be used: No such file";
    server.refuses(&url, missing).await;
    let url = server.asked_for(&format!("sslmode=require&sslrootcert={ANOTHER_CA}"));
    server.is_used_by_tls_alone(&url).await;
}

#[tokio::test]
async fn a_server_with_another_hosts_certificate_is_refused_where_the_mode_asks_for_the_name() {
    let Some(server) = Server::with("elsewhere").await else {
        return;
    };
    let url = server.asked_for(&format!("sslmode=verify-full&{}", ca()));
    let words =
        "no TLS with the database: invalid peer certificate: certificate not valid for name";
    server.refuses(&url, words).await;
    for parameters in [
        format!("sslmode=verify-ca&{}", ca()),
        "sslmode=require".to_owned(),
    ] {
        let url = server.asked_for(&parameters);
        server.is_used_by_tls_alone(&url).await;
    }
}

#[tokio::test]
async fn a_server_that_insists_on_tls_is_used_by_every_mode_that_tries_it() {
    let Some(server) = Server::with("node").await else {
        return;
    };
    for mode in ["disable", "allow"] {
        let url = server.asked_for(&format!("sslmode={mode}"));
        let words = "the database refuses this node: no pg_hba.conf entry for host \"127.0.0.1\", \
                     user \"faktor\", database \"faktor\", no encryption";
        server.refuses(&url, words).await;
    }
    for parameters in ["", "sslmode=prefer", "sslmode=require"] {
        let url = server.asked_for(parameters);
        server.is_used_by_tls_alone(&url).await;
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_takes_the_users_own_alone() {
    let Some(server) = Server::with("node").await else {
        return;
    };
    let with = |certificate: Option<&str>| {
        let own = certificate.map(|name| {
            let file = format!("{CERTIFICATES}/{name}");
            format!("&sslcert={file}.pem&sslkey={file}.key")
        });
        let parameters = format!("sslmode=verify-full&{}{}", ca(), own.unwrap_or_default());
        server.url("node", "127.0.0.1", &parameters)
    };
    let refused = "the database refuses this node: ";
    let without = format!("{refused}connection requires a valid client certificate");
    server.refuses(&with(None), &without).await;
    let anothers = format!("{refused}certificate authentication failed for user \"node\"");
    server.refuses(&with(Some("elsewhere")), &anothers).await;
    let unknown = "no TLS with the database: received fatal alert: UnknownCA";
    server.refuses(&with(Some("stranger")), unknown).await;
    server.is_used_by_tls_alone(&with(Some("node"))).await;
}

#[tokio::test]
async fn a_node_that_does_not_know_its_databases_authority_ends_with_a_line_and_1() {
    let Some(server) = Server::with("node").await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let url = server.asked_for(&format!("sslmode=verify-full&sslrootcert={ANOTHER_CA}"));
    let ended = node(&directory, &url).wait_with_output();
    let output = timeout(PATIENCE, ended).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(1), &[][..]),
        "{said}"
    );
    assert!(!said.contains(PASSWORD), "{said}");
    let (_, last_words) = said
        .rsplit_once("faktor: a backend can't be used:\n")
        .unwrap();
    let address = url.replace(&format!("faktor:{PASSWORD}@"), "");
    let (address, _) = address.split_once('?').unwrap();
    let line = format!(
        "  store (PostgreSQL) at {address}: \
         no TLS with the database: invalid peer certificate: UnknownIssuer\n"
    );
    assert_eq!(last_words, line);
    server.is_empty().await;
}

#[tokio::test]
async fn every_connection_of_a_node_is_encrypted() {
    let Some(server) = Server::with("node").await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let url = server.asked_for(&format!("sslmode=verify-full&{}", ca()));
    let _node = node(&directory, &url);
    let both = |sessions: &[Session]| {
        let is_there = |name| sessions.iter().any(|it| it.application_name == name);
        is_there("faktor") && is_there("faktor-sandbox")
    };
    let sessions = server.sessions_when(both).await;
    assert!(sessions.iter().all(is_safe), "{sessions:?}");
}
