//! Mail handed over to a server by SMTP.

use std::fmt;
use std::sync::Arc;

use lettre::Message;
use lettre::address::Envelope;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use self::address::Address;
use self::connection::{ConnectError, outcome_unknown};
use self::pool::Pool;
use super::{MailError, OutgoingMail, message};

mod address;
mod connection;
mod pool;

/// An answer of the server that is younger than this shows that it is there.
const FRESH: Duration = Duration::from_secs(5);
/// How long readiness waits for the server; it gives every backend two seconds.
const PING_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A mail server that takes mail by SMTP, with a bounded number of connections that are kept for the
/// next mail. Cheap to clone.
///
/// A mail is taken as a whole: when one recipient is refused, nobody gets it. A connection serves
/// the next mail only after its last command was answered, so a mail that was given up can't make
/// a later one look sent.
#[derive(Clone)]
pub struct SmtpMail {
    pool: Arc<Pool>,
    /// For handing one mail over, with everything it takes.
    timeout: Duration,
    /// The last time the server was found wanting, and how: asked after by many, it is tried by one.
    unwell: Arc<tokio::sync::Mutex<Option<(Instant, String)>>>,
}

impl fmt::Debug for SmtpMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpMail({:?})", self.pool.address())
    }
}

/// Why the mail server can't be used. Each is a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmtpStartError {
    /// Waiting may help.
    #[error("{0}")]
    Unreachable(String),
    /// Waiting does not help: the address is wrong, or the login.
    #[error("{0}")]
    Rejected(String),
}

impl SmtpMail {
    /// Reads the address; connects to nothing yet. Must be called within a Tokio runtime.
    pub fn new(url: &str, timeout: Duration, max_connections: u32) -> Result<Self, SmtpStartError> {
        let rejected = |problem| SmtpStartError::Rejected(format!("mail.url: {problem}"));
        let address = Address::parse(url).map_err(rejected)?;
        let tls = tls_parameters(&address).map_err(rejected)?;
        Ok(Self {
            pool: Pool::new(address, tls, max_connections),
            timeout,
            unwell: Arc::default(),
        })
    }

    /// Connects and logs in, for the start of a node. The connection is kept for the first mail.
    pub async fn check(&self) -> Result<(), SmtpStartError> {
        match self.pool.lease().await {
            Ok(lease) => {
                lease.give_back();
                Ok(())
            }
            Err(ConnectError::Unreachable(problem)) => Err(SmtpStartError::Unreachable(problem)),
            Err(ConnectError::Rejected(problem)) => Err(SmtpStartError::Rejected(problem)),
        }
    }

    pub(super) async fn send(&self, mail: &OutgoingMail) -> Result<(), MailError> {
        let (envelope, bytes) = composed(mail).await?;
        let deadline = Instant::now() + self.timeout;
        let unavailable = |detail| MailError::Unavailable { detail };
        let mut lease = timeout_at(deadline, self.pool.lease())
            .await
            .map_err(|_| unavailable(self.no_answer(self.timeout)))?
            .map_err(|error| unavailable(error.to_string()))?;
        let connection = &mut lease.connection;
        let handed_over = timeout_at(deadline, connection.hand_over(&envelope, &bytes)).await;
        let outcome = handed_over.unwrap_or_else(|_| Err(self.too_late(connection.offered)));
        lease.give_back();
        outcome
    }

    fn too_late(&self, offered: bool) -> MailError {
        let cause = format!("no answer within {} ms", self.timeout.as_millis());
        if offered {
            return outcome_unknown(&cause);
        }
        MailError::Temporary {
            detail: format!("the mail was not handed over: {cause}"),
        }
    }

    /// Whether the server is there and lets us in. Asked often, it does little: an answer to a mail
    /// or to an earlier question counts for five seconds, as does the lack of one.
    pub(super) async fn ping(&self) -> Result<(), MailError> {
        let mut unwell = self.unwell.lock().await;
        if self.pool.answered_within(FRESH) {
            return Ok(());
        }
        let known = unwell.take().filter(|(at, _)| at.elapsed() < FRESH);
        let problem = match known {
            Some(known) => known,
            None => match timeout(PING_TIMEOUT, self.pool.lease()).await {
                Ok(Ok(lease)) => {
                    lease.give_back();
                    return Ok(());
                }
                Ok(Err(error)) => (Instant::now(), error.to_string()),
                Err(_) => (Instant::now(), self.no_answer(PING_TIMEOUT)),
            },
        };
        let detail = problem.1.clone();
        *unwell = Some(problem);
        Err(MailError::Unavailable { detail })
    }

    fn no_answer(&self, time: Duration) -> String {
        format!(
            "the mail server did not answer within {} ms on any of at most {} connections",
            time.as_millis(),
            self.pool.max_connections()
        )
    }
}

/// Who gets the mail, and its bytes. Encoding attachments takes milliseconds, so it happens off the
/// reactor.
async fn composed(mail: &OutgoingMail) -> Result<(Envelope, Vec<u8>), MailError> {
    let mail = mail.clone();
    let composed = tokio::task::spawn_blocking(move || {
        let message = message::compose(&mail)?;
        Ok((envelope(&message)?, message.formatted()))
    });
    composed.await.map_err(|error| MailError::Temporary {
        detail: format!("the mail was not built: {error}"),
    })?
}

/// The sender, and everyone in `to` and `cc`, once.
fn envelope(message: &Message) -> Result<Envelope, MailError> {
    let mut recipients = Vec::new();
    for recipient in message.envelope().to() {
        if !recipients.contains(recipient) {
            recipients.push(recipient.clone());
        }
    }
    let sender = message.envelope().from().cloned();
    Envelope::new(sender, recipients).map_err(|error| MailError::Permanent {
        detail: format!("the mail can't be addressed: {error}"),
    })
}

fn tls_parameters(address: &Address) -> Result<TlsParameters, String> {
    let mut tls = TlsParameters::builder(address.host.clone());
    if let Some(path) = &address.ca {
        let pem = std::fs::read(path).map_err(|error| format!("?ca={path}: {error}"))?;
        let marker = b"-----BEGIN CERTIFICATE-----";
        if !pem.windows(marker.len()).any(|window| window == marker) {
            return Err(format!("?ca={path}: the file holds no PEM certificate"));
        }
        let roots = Certificate::from_pem(&pem)
            .map_err(|_| format!("?ca={path}: the file holds no readable PEM certificate"))?;
        tls = tls.add_root_certificate(roots);
    }
    tls.build()
        .map_err(|error| format!("TLS can't be set up: {error}"))
}
