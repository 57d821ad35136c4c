//! The Mail pool: sends mails, not too many to one domain at once.

use jiff::{SignedDuration, Timestamp};

use super::pool::Work;
use super::throttle::{Breaker, RateLimit};
use crate::clock::Clock;
use crate::config;
use crate::outbound::mail::{Mail, MailError, OutgoingMail};
use crate::store::cache::SharedCache;

/// Times in a row that no mail could be handed over, after which the mail server is left alone for a
/// while; for longer each time, so that an outage of a day costs each mail hundreds of notes in its
/// history and not thousands.
const FAILURES: u32 = 5;
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
const MAX_PAUSE: SignedDuration = SignedDuration::from_mins(2);

/// The name under which mails to the mail server itself are counted.
const MAIL_SERVER: &str = "";

/// What became of a mail.
#[derive(Debug)]
pub enum MailOutcome {
    Sent,
    /// Not tried: a rate, a pause, or no mail server; not before this.
    Postponed(Timestamp),
    Failed(MailError),
}

#[derive(Debug)]
pub struct MailWork {
    mail: Mail,
    clock: Clock,
    per_domain: RateLimit,
    /// Of the mail server itself: one destination without a name.
    per_host: RateLimit,
    /// Counts for all nodes; `per_domain` holds for this one whatever becomes of it.
    shared: SharedCache,
    breaker: Breaker,
}

impl MailWork {
    pub fn new(mail: Mail, clock: Clock, config: &config::Mail, shared: SharedCache) -> Self {
        Self {
            mail,
            clock,
            per_domain: RateLimit::new(config.per_domain_per_minute),
            per_host: RateLimit::new(config.per_host_per_minute),
            shared,
            breaker: Breaker::new(FAILURES, PAUSE).growing_to(MAX_PAUSE),
        }
    }

    async fn admit(&self, mail: &OutgoingMail) -> Result<(), Timestamp> {
        let now = self.clock.now();
        self.breaker.admit(now)?;
        // A destination that must wait uses up nothing of the others' share, nor the other way round.
        self.per_host.check(MAIL_SERVER, now)?;
        let mut domains: Vec<&str> = mail
            .to
            .iter()
            .chain(&mail.cc)
            .filter_map(|address| address.rsplit_once('@').map(|(_, domain)| domain))
            .collect();
        domains.sort_unstable();
        domains.dedup();
        for domain in domains {
            self.per_domain.admit(domain, now)?;
            let per_minute = self.per_domain.per_minute();
            let admitted = self
                .shared
                .admit(&format!("mail:{domain}"), per_minute)
                .await;
            if let Some(Err(wait)) = admitted {
                let wait = SignedDuration::try_from(wait).unwrap_or(PAUSE);
                return Err(now.checked_add(wait).unwrap_or(now));
            }
        }
        self.per_host.admit(MAIL_SERVER, now)
    }
}

impl Work for MailWork {
    type Task = OutgoingMail;
    type Output = MailOutcome;
    const NAME: &'static str = "mail";

    async fn run(&self, mail: OutgoingMail) -> MailOutcome {
        if let Err(not_before) = self.admit(&mail).await {
            return MailOutcome::Postponed(not_before);
        }
        match self.mail.send(&mail).await {
            Err(MailError::Unavailable { detail }) => {
                let now = self.clock.now();
                self.breaker.failed(now);
                tracing::warn!(
                    reason = detail,
                    "no mail can be handed over; tried again later"
                );
                MailOutcome::Postponed(now)
            }
            // Whatever the server says of one mail, or fails to: others are not made to wait.
            Err(error) => {
                self.breaker.succeeded();
                MailOutcome::Failed(error)
            }
            Ok(()) => {
                self.breaker.succeeded();
                MailOutcome::Sent
            }
        }
    }
}
