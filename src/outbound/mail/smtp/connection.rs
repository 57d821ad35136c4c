//! One connection to the mail server, and what its answers mean.

use std::error::Error as _;
use std::fmt::Display;

use lettre::address::Envelope;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::response::Response;
use tokio::time::{Duration, timeout};

use super::super::MailError;
use super::address::{Address, Security};

/// The longest quotation of a server, in characters.
const MAX_WORDS: usize = 300;
/// The longest reason for not taking a mail, in characters.
const MAX_DETAIL: usize = 1_000;
/// How long saying goodbye may take.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no connection. Each is a sentence for the operator.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ConnectError {
    /// It may work the next time.
    #[error("{0}")]
    Unreachable(String),
    /// It will not, until somebody changes something: the login, or what the server offers.
    #[error("{0}")]
    Rejected(String),
}

/// What came of a command.
enum Trouble {
    /// The server's no. The connection is in step.
    Reply { code: u16, words: String },
    /// The connection can't be used any more.
    Broken(String),
}

impl From<SmtpError> for Trouble {
    fn from(error: SmtpError) -> Self {
        let cause = root_cause(&error);
        match error.status() {
            Some(code) => Self::Reply {
                code: code.into(),
                words: format!("{code} {cause}").trim_end().to_owned(),
            },
            None => Self::Broken(cause),
        }
    }
}

/// A connection after its greeting and login.
pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    /// No command waits for its answer. Only then may another mail use it: whoever reads the answer
    /// to an earlier mail as that to his own takes a mail for sent that is not.
    pub(super) in_step: bool,
    /// The mail under way is on its way: the server may have taken it.
    pub(super) offered: bool,
    /// Mails it was used for.
    pub(super) mails: u32,
}

impl Connection {
    pub(super) async fn open(address: &Address, tls: &TlsParameters) -> Result<Self, ConnectError> {
        let mut smtp = connect(address, tls).await?;
        if address.security == Security::Plain {
            log_in(&mut smtp, address).await?;
            return Ok(Self::new(smtp));
        }
        if smtp.can_starttls() {
            let upgraded = smtp.starttls(tls.clone(), &address.client).await;
            upgraded.map_err(|error| unreachable_because("STARTTLS failed", error))?;
        }
        if !smtp.is_encrypted() && address.security != Security::Opportunistic {
            return Err(ConnectError::Rejected(
                "the server offers no STARTTLS; nothing was sent".to_owned(),
            ));
        }
        log_in(&mut smtp, address).await?;
        Ok(Self::new(smtp))
    }

    const fn new(smtp: AsyncSmtpConnection) -> Self {
        Self {
            smtp,
            in_step: true,
            offered: false,
            mails: 0,
        }
    }

    /// Ends what an earlier mail left behind, and shows that the server is still there.
    pub(super) async fn reset(&mut self) -> bool {
        self.in_step = false;
        self.in_step = self.ask(Rset, &[250]).await.is_ok();
        self.in_step
    }

    pub(super) async fn quit(mut self) {
        // It is being closed either way.
        let _ = timeout(QUIT_TIMEOUT, self.smtp.quit()).await;
    }

    /// Hands one mail over: all recipients or none.
    pub(super) async fn hand_over(
        &mut self,
        envelope: &Envelope,
        message: &[u8],
    ) -> Result<(), MailError> {
        self.in_step = false;
        self.offered = false;
        self.mails = self.mails.saturating_add(1);
        let outcome = self.exchange(envelope, message).await;
        // Else the server has closed, or is about to.
        self.in_step = matches!(&outcome, Ok(()) | Err(Refused { in_step: true, .. }));
        outcome.map_err(|refused| refused.error)
    }

    async fn exchange(&mut self, envelope: &Envelope, message: &[u8]) -> Result<(), Refused> {
        let sender = envelope.from().cloned();
        self.ask(Mail::new(sender, Vec::new()), &[250])
            .await
            .map_err(Refused::sender)?;
        self.name_recipients(envelope).await?;
        self.ask(Data, &[354]).await.map_err(Refused::content)?;
        self.offered = true;
        // The line break before the final dot is the message's own.
        let message = message.strip_suffix(b"\r\n").unwrap_or(message);
        let reply = self.smtp.message(message).await;
        expect(reply, &[250]).map_err(|trouble| match trouble {
            Trouble::Reply { .. } => Refused::content(trouble),
            Trouble::Broken(cause) => Refused::unknown(&cause),
        })
    }

    /// Asks for every recipient, so that all that is wrong is known at once.
    async fn name_recipients(&mut self, envelope: &Envelope) -> Result<(), Refused> {
        let (mut permanent, mut temporary) = (Vec::new(), Vec::new());
        let mut closing = false;
        for recipient in envelope.to() {
            let command = Rcpt::new(recipient.clone(), Vec::new());
            let Err(trouble) = self.ask(command, &[250, 251, 252]).await else {
                continue;
            };
            let Trouble::Reply { code, words } = trouble else {
                return Err(Refused::before_data(trouble));
            };
            let refusal = format!("{recipient} ({words})");
            if code >= 500 {
                permanent.push(refusal);
            } else {
                temporary.push(refusal);
            }
            if code == 421 {
                closing = true;
                break;
            }
        }
        let told = |refusals: &[String]| {
            bounded(
                &format!("the mail server refuses {}", refusals.join(", ")),
                MAX_DETAIL,
            )
        };
        let error = match (&permanent[..], &temporary[..]) {
            ([], []) => return Ok(()),
            ([], temporary) => MailError::Temporary {
                detail: told(temporary),
            },
            (permanent, _) => MailError::Permanent {
                detail: told(permanent),
            },
        };
        Err(Refused {
            error,
            in_step: !closing,
        })
    }

    async fn ask(&mut self, command: impl Display + Send, expected: &[u16]) -> Result<(), Trouble> {
        expect(self.smtp.command(command).await, expected)
    }
}

/// Only the very answer that a command has counts: another one belongs to another command.
fn expect(reply: Result<Response, SmtpError>, expected: &[u16]) -> Result<(), Trouble> {
    let code = u16::from(reply?.code());
    if expected.contains(&code) {
        Ok(())
    } else {
        Err(Trouble::Broken(format!(
            "the server answered {code} where {expected:?} was expected"
        )))
    }
}

/// A mail that was not taken, and whether its connection can be used for others.
struct Refused {
    error: MailError,
    in_step: bool,
}

impl Refused {
    /// At `MAIL`, before anything was said about the recipients.
    fn sender(trouble: Trouble) -> Self {
        match trouble {
            // The server takes no mail from this node now, or wants another login (RFC 4954): it is
            // not about this mail.
            Trouble::Reply {
                code: 421 | 530 | 534 | 535 | 538,
                words,
            } => Self {
                error: MailError::Unavailable {
                    detail: format!("the mail server takes no mail from this node: {words}"),
                },
                in_step: false,
            },
            Trouble::Reply { code, words } => {
                Self::reply(code, format!("the mail server refuses the sender: {words}"))
            }
            Trouble::Broken(_) => Self::before_data(trouble),
        }
    }

    fn content(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Reply { code, words } => {
                Self::reply(code, format!("the mail server refuses the mail: {words}"))
            }
            Trouble::Broken(_) => Self::before_data(trouble),
        }
    }

    fn before_data(trouble: Trouble) -> Self {
        let (Trouble::Reply { words: cause, .. } | Trouble::Broken(cause)) = trouble;
        Self {
            error: MailError::Temporary {
                detail: format!("the mail was not handed over: {cause}"),
            },
            in_step: false,
        }
    }

    fn unknown(cause: &str) -> Self {
        Self {
            error: outcome_unknown(cause),
            in_step: false,
        }
    }

    const fn reply(code: u16, detail: String) -> Self {
        let error = if code >= 500 {
            MailError::Permanent { detail }
        } else {
            MailError::Temporary { detail }
        };
        Self {
            error,
            in_step: code != 421,
        }
    }
}

/// The mail was sent, and no answer came: it is sent again, and may arrive twice.
pub(super) fn outcome_unknown(cause: &str) -> MailError {
    MailError::Temporary {
        detail: format!(
            "whether the mail server took the mail is not known ({cause}); it is repeated with \
             the same Message-ID"
        ),
    }
}

async fn connect(
    address: &Address,
    tls: &TlsParameters,
) -> Result<AsyncSmtpConnection, ConnectError> {
    let server = (address.host.as_str(), address.port);
    let tls = (address.security == Security::Tls).then(|| tls.clone());
    // The caller limits all of it: lettre's own limit is for the first packets alone.
    AsyncSmtpConnection::connect_tokio1(server, None, &address.client, tls, None)
        .await
        .map_err(|error| unreachable_because("can't connect", error))
}

async fn log_in(smtp: &mut AsyncSmtpConnection, address: &Address) -> Result<(), ConnectError> {
    let Some(credentials) = &address.credentials else {
        return Ok(());
    };
    if !address.may_send_credentials(smtp.is_encrypted()) {
        return Err(ConnectError::Rejected(
            "the server offers no STARTTLS, so the password was not sent".to_owned(),
        ));
    }
    let mechanisms = [Mechanism::Plain, Mechanism::Login];
    if smtp.server_info().get_auth_mechanism(&mechanisms).is_none() {
        return Err(ConnectError::Rejected(
            "the server offers neither AUTH PLAIN nor AUTH LOGIN".to_owned(),
        ));
    }
    let reply = smtp.auth(&mechanisms, credentials).await;
    expect(reply, &[235]).map_err(|trouble| match trouble {
        Trouble::Reply { code, words } => {
            let words = words.replace(&address.password, "***");
            let problem = format!("the server refuses the login: {words}");
            if code >= 500 {
                ConnectError::Rejected(problem)
            } else {
                ConnectError::Unreachable(problem)
            }
        }
        Trouble::Broken(cause) => ConnectError::Unreachable(format!("the login failed: {cause}")),
    })
}

fn unreachable_because(what: &str, error: SmtpError) -> ConnectError {
    let (Trouble::Reply { words: cause, .. } | Trouble::Broken(cause)) = error.into();
    ConnectError::Unreachable(format!("{what}: {cause}"))
}

/// The innermost cause: the server's words, or what the network or TLS said.
fn root_cause(error: &SmtpError) -> String {
    let Some(mut cause) = error.source() else {
        return bounded(&error.to_string(), MAX_WORDS);
    };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    bounded(&cause.to_string(), MAX_WORDS)
}

/// On one line, and not longer than that.
fn bounded(text: &str, max_chars: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    if line.chars().count() <= max_chars {
        return line;
    }
    line.chars().take(max_chars).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_one_short_line() {
        assert_eq!(bounded(" no\r\n such\u{7} user ", 300), "no such user");
        assert_eq!(bounded(&"é".repeat(400), 300).chars().count(), 301);
    }
}
