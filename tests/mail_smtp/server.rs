//! A small SMTP server that notes everything, and misbehaves on request.
//!
//! What a recipient's local part asks for: `reject…` 550, `defer…` 451, `busy…` 421, `hold…` the
//! answer to `DATA` waits until [`Server::release`], `mute…` the mail is taken and never answered,
//! `cut-once…` the connection is cut instead of the first answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificate authority that signed `server.pem`, the server's certificate for `localhost`.
pub(crate) const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail_smtp/ca.pem");

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What the server offers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offer {
    /// TLS from the first byte.
    pub(crate) tls_first: bool,
    pub(crate) starttls: bool,
    /// Bytes slipped in after the answer to `STARTTLS`, before TLS.
    pub(crate) slipped_in: &'static str,
    /// Such as `PLAIN LOGIN`; the only good password is `right`.
    pub(crate) auth: &'static str,
    /// The answer to every `MAIL`.
    pub(crate) to_mail: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections that were greeted.
    pub(crate) connections: usize,
    pub(crate) open: usize,
    /// The most that were open at once.
    pub(crate) most_open: usize,
    /// Commands, and whether they came through TLS.
    pub(crate) commands: Vec<(bool, String)>,
    /// Mails that were taken, as they came, without the dots' doubles.
    pub(crate) mails: Vec<Vec<u8>>,
    cut: Vec<String>,
}

struct Shared {
    offer: Offer,
    seen: Mutex<Seen>,
    /// Told at each change of `seen`.
    changed: Notify,
    released: watch::Sender<bool>,
    hang_up: watch::Sender<u32>,
    tls: TlsAcceptor,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    /// Nobody listens any more, and all connections are cut.
    fn drop(&mut self) {
        self.accepting.abort();
        self.hang_up();
    }
}

impl Server {
    pub(crate) async fn start(offer: Offer) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), offer).await
    }

    pub(crate) async fn start_at(address: SocketAddr, offer: Offer) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            offer,
            seen: Mutex::default(),
            changed: Notify::new(),
            released: watch::channel(false).0,
            hang_up: watch::channel(0).0,
            tls: acceptor(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// `localhost` and the port, as the certificate wants it.
    pub(crate) fn named(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub(crate) fn plain_url(&self) -> String {
        format!("smtp://{}?tls=none", self.address)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().unwrap()
    }

    /// How often a command that begins so came.
    pub(crate) fn count(&self, command: &str) -> usize {
        let seen = self.seen();
        let commands = seen.commands.iter();
        commands.filter(|(_, it)| it.starts_with(command)).count()
    }

    pub(crate) async fn until(&self, holds: impl Fn(&Seen) -> bool) {
        let changes = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if holds(&self.seen()) {
                    return;
                }
                changed.await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), changes).await;
        waited.unwrap_or_else(|_| panic!("not in time: {:?}", self.seen().commands));
    }

    /// Lets the answers go that were held.
    pub(crate) fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Cuts all connections that are open; others may follow.
    pub(crate) fn hang_up(&self) {
        self.shared.hang_up.send_modify(|times| *times += 1);
    }
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key")).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut hang_up = shared.hang_up.subscribe();
            tokio::select! {
                // A connection that breaks is the test's own doing.
                _ = serve(stream, &shared) => {}
                _ = hang_up.changed() => {}
            }
        });
    }
}

/// Counts a connection as open until dropped.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut seen = shared.seen.lock().unwrap();
        seen.connections += 1;
        seen.open += 1;
        seen.most_open = seen.most_open.max(seen.open);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.seen.lock().unwrap().open -= 1;
        self.0.changed.notify_waiters();
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let _open = Open::new(shared);
    let mut session = Session {
        stream: BufReader::new(Box::pin(stream)),
        encrypted: false,
        recipients: Vec::new(),
        shared,
    };
    if shared.offer.tls_first {
        session = session.encrypt().await?;
    }
    session.say("220 fake.test").await?;
    loop {
        let line = session.line().await?;
        {
            let mut seen = shared.seen.lock().unwrap();
            seen.commands.push((session.encrypted, line.clone()));
        }
        shared.changed.notify_waiters();
        let command = line.split(' ').next().unwrap_or_default().to_uppercase();
        match &*command {
            "EHLO" => session.offer().await?,
            "STARTTLS" if shared.offer.starttls => {
                let answer = format!("220 go on\r\n{}", shared.offer.slipped_in);
                session.say(answer.trim_end()).await?;
                session = session.encrypt().await?;
            }
            "AUTH" => session.auth(&line).await?,
            "MAIL" => {
                session.recipients.clear();
                let answer = shared.offer.to_mail.unwrap_or("250 yes");
                session.say(answer).await?;
            }
            "RCPT" => session.recipient(&line).await?,
            "DATA" => session.data().await?,
            "RSET" | "NOOP" => session.say("250 yes").await?,
            "QUIT" => return session.say("221 bye").await,
            _ => session.say("502 what?").await?,
        }
    }
}

struct Session<'a> {
    stream: BufReader<Pin<Box<dyn Stream>>>,
    encrypted: bool,
    recipients: Vec<String>,
    shared: &'a Shared,
}

impl Session<'_> {
    async fn encrypt(self) -> io::Result<Self> {
        let stream = self.shared.tls.accept(self.stream.into_inner()).await?;
        Ok(Self {
            stream: BufReader::new(Box::pin(stream)),
            encrypted: true,
            ..self
        })
    }

    async fn say(&mut self, answer: &str) -> io::Result<()> {
        self.stream
            .write_all(format!("{answer}\r\n").as_bytes())
            .await?;
        self.stream.flush().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn offer(&mut self) -> io::Result<()> {
        let offer = &self.shared.offer;
        if offer.starttls && !self.encrypted {
            self.say("250-STARTTLS").await?;
        }
        if !offer.auth.is_empty() {
            let auth = format!("250-AUTH {}", offer.auth);
            self.say(&auth).await?;
        }
        self.say("250 8BITMIME").await
    }

    /// Repeats a wrong password, as no server should.
    async fn auth(&mut self, line: &str) -> io::Result<()> {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        let decoded = |text: &str| {
            let bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
            String::from_utf8(bytes).unwrap_or_default()
        };
        let password = if let Some(plain) = line.strip_prefix("AUTH PLAIN ") {
            decoded(plain)
                .rsplit('\0')
                .next()
                .unwrap_or_default()
                .to_owned()
        } else {
            self.say("334 VXNlcm5hbWU6").await?;
            self.line().await?;
            self.say("334 UGFzc3dvcmQ6").await?;
            decoded(&self.line().await?)
        };
        if password == "right" {
            return self.say("235 welcome").await;
        }
        self.say(&format!("535 5.7.8 {password} is wrong")).await
    }

    async fn recipient(&mut self, line: &str) -> io::Result<()> {
        let address = line.trim_start_matches("RCPT TO:<").trim_end_matches('>');
        if address.starts_with("reject") {
            return self.say("550-5.1.1 no such\r\n550 user").await;
        }
        if address.starts_with("defer") {
            return self.say("451 4.7.1 later").await;
        }
        if address.starts_with("busy") {
            self.say("421 4.7.0 too much").await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.recipients.push(address.to_owned());
        self.say("250 yes").await
    }

    fn asks_for(&self, what: &str) -> Option<&String> {
        self.recipients.iter().find(|it| it.starts_with(what))
    }

    async fn data(&mut self) -> io::Result<()> {
        if self.recipients.is_empty() {
            return self.say("503 nobody to send it to").await;
        }
        if self.asks_for("hold").is_some() {
            let mut released = self.shared.released.subscribe();
            let _ = released.wait_for(|released| *released).await;
        }
        self.say("354 go on").await?;
        let mail = self.content().await?;
        if let Some(address) = self.asks_for("cut-once").cloned() {
            let mut seen = self.shared.seen.lock().unwrap();
            if !seen.cut.contains(&address) {
                seen.cut.push(address);
                seen.mails.push(mail);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        self.shared.seen.lock().unwrap().mails.push(mail);
        self.shared.changed.notify_waiters();
        if self.asks_for("mute").is_some() {
            std::future::pending::<()>().await;
        }
        self.say("250 taken").await
    }

    async fn content(&mut self) -> io::Result<Vec<u8>> {
        let mut mail = Vec::new();
        loop {
            let start = mail.len();
            if self.stream.read_until(b'\n', &mut mail).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if &mail[start..] == b".\r\n" {
                mail.truncate(start);
                return Ok(mail);
            }
            if mail[start] == b'.' {
                mail.remove(start);
            }
        }
    }
}
