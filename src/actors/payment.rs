//! The Payment pool: talks to the payment provider, with a time-out and a circuit breaker.

use std::future::Future;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Duration, timeout};

use super::pool::Work;
use super::throttle::Breaker;
use crate::clock::Clock;
use crate::outbound::payment::{
    ChargeOutcome, ChargeRequest, CreatedLink, LinkEnd, LinkRequest, Payments, ProviderError,
};

/// Failures in a row after which the provider is left alone for a while.
const FAILURES: u32 = 50;
const PAUSE: SignedDuration = SignedDuration::from_secs(5);

#[derive(Debug)]
pub enum PaymentTask {
    Charge(ChargeRequest),
    CreateLink(LinkRequest),
    ExpireLink { link_id: String },
}

#[derive(Debug)]
pub enum PaymentOutcome {
    Charged(ChargeOutcome),
    LinkCreated(CreatedLink),
    LinkEnded(LinkEnd),
    /// Not asked: a pause after many failures; not before this.
    Postponed(Timestamp),
    Failed(ProviderError),
}

#[derive(Debug)]
pub struct PaymentWork {
    payments: Arc<Payments>,
    clock: Clock,
    timeout: Duration,
    breaker: Breaker,
}

impl PaymentWork {
    pub fn new(payments: Arc<Payments>, clock: Clock, timeout: Duration) -> Self {
        Self {
            payments,
            clock,
            timeout,
            breaker: Breaker::new(FAILURES, PAUSE),
        }
    }

    async fn ask(&self, task: PaymentTask) -> Result<PaymentOutcome, ProviderError> {
        match task {
            PaymentTask::Charge(request) => {
                let outcome = self.in_time(self.payments.charge(&request)).await?;
                Ok(PaymentOutcome::Charged(outcome))
            }
            PaymentTask::CreateLink(request) => {
                let link = self.in_time(self.payments.create_link(&request)).await?;
                Ok(PaymentOutcome::LinkCreated(link))
            }
            PaymentTask::ExpireLink { link_id } => {
                let end = self.in_time(self.payments.expire_link(&link_id)).await?;
                Ok(PaymentOutcome::LinkEnded(end))
            }
        }
    }

    /// No answer in time leaves the outcome unknown.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        timeout(self.timeout, answer).await.unwrap_or_else(|_| {
            let detail = format!("no answer within {} ms", self.timeout.as_millis());
            Err(ProviderError::OutcomeUnknown { detail })
        })
    }
}

impl Work for PaymentWork {
    type Task = PaymentTask;
    type Output = PaymentOutcome;
    const NAME: &'static str = "payment";

    async fn run(&self, task: PaymentTask) -> PaymentOutcome {
        if let Err(not_before) = self.breaker.admit(self.clock.now()) {
            return PaymentOutcome::Postponed(not_before);
        }
        match self.ask(task).await {
            Ok(outcome) => {
                self.breaker.succeeded();
                outcome
            }
            Err(error) => {
                if !matches!(error, ProviderError::Rejected { .. }) {
                    self.breaker.failed(self.clock.now());
                }
                PaymentOutcome::Failed(error)
            }
        }
    }
}
