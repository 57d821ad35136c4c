//! The Mail pool: sends mails, not too many to one domain at once.

use jiff::{SignedDuration, Timestamp};

use super::pool::Work;
use super::throttle::{Breaker, RateLimit};
use crate::clock::Clock;
use crate::outbound::mail::{Mail, MailError, OutgoingMail};
use crate::store::cache::SharedCache;

/// Temporary failures in a row after which the mail server is left alone for a while.
const FAILURES: u32 = 20;
const PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// What became of a mail.
#[derive(Debug)]
pub enum MailOutcome {
    Sent,
    /// Not tried: the destination's rate or a pause; not before this.
    Postponed(Timestamp),
    Failed(MailError),
}

#[derive(Debug)]
pub struct MailWork {
    mail: Mail,
    clock: Clock,
    per_domain: RateLimit,
    /// Counts for all nodes; `per_domain` holds for this one whatever becomes of it.
    shared: SharedCache,
    breaker: Breaker,
}

impl MailWork {
    pub fn new(mail: Mail, clock: Clock, per_domain_per_minute: u32, shared: SharedCache) -> Self {
        let per_domain = RateLimit::new(per_domain_per_minute);
        Self {
            mail,
            clock,
            per_domain,
            shared,
            breaker: Breaker::new(FAILURES, PAUSE),
        }
    }

    async fn admit(&self, mail: &OutgoingMail) -> Result<(), Timestamp> {
        let now = self.clock.now();
        self.breaker.admit(now)?;
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
        Ok(())
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
            Ok(()) => {
                self.breaker.succeeded();
                MailOutcome::Sent
            }
            Err(error) => {
                if matches!(error, MailError::Temporary { .. }) {
                    self.breaker.failed(self.clock.now());
                }
                MailOutcome::Failed(error)
            }
        }
    }
}
