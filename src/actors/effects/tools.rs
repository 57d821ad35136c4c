//! How each kind of effect is carried out, and which command brings its result back.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::super::documents::{DocumentError, DocumentsHandle};
use super::super::mail::{MailOutcome, MailWork};
use super::super::payment::{PaymentOutcome, PaymentTask, PaymentWork};
use super::super::pool::{Pool, PoolError};
use crate::clock::{self, Clock};
use crate::config;
use crate::domain::ids::EffectId;
use crate::domain::invoice::command::{Command, Initiator, SendOrder};
use crate::domain::invoice::effect::{EffectError, EffectKind, PendingEffect};
use crate::domain::invoice::{
    DocumentFormat, Invoice, PaymentLink, ProviderPayment, StoredDocument,
};
use crate::domain::money::Money;
use crate::outbound::mail::{Attachment, MailError, OutgoingMail};
use crate::outbound::payment::{ChargeOutcome, ChargeRequest, LinkEnd, LinkRequest, ProviderError};
use crate::render::{self, RenderContext};
use crate::store::StoreError;

/// How long until it is asked again what came of a payment that takes days.
const PAYMENT_UNDER_WAY: SignedDuration = SignedDuration::from_hours(1);

/// How long an effect that found no room waits.
const POSTPONE: SignedDuration = SignedDuration::from_secs(2);

/// The attempts at a number after which the delay does not grow any more: somebody waits for it.
const NUMBER_DELAY_GROWS: u32 = 6;

/// What the runner needs. `public_url` and names are the same for every effect.
pub(in super::super) struct EffectTools {
    pub(in super::super) documents: DocumentsHandle,
    pub(in super::super) mail: Pool<MailWork>,
    pub(in super::super) payment: Pool<PaymentWork>,
    /// The provider's name in payments and links.
    pub(in super::super) provider: &'static str,
    pub(in super::super) context: RenderContext,
    pub(in super::super) mail_config: config::Mail,
    pub(in super::super) config: config::Effects,
    pub(in super::super) clock: Clock,
}

/// Why an attempt brought no result.
pub(super) enum Failure {
    /// It was not tried; not before this.
    Postponed(Timestamp),
    Failed(EffectError),
}

impl EffectTools {
    pub(super) async fn perform(
        &self,
        invoice: &Arc<Invoice>,
        effect: &PendingEffect,
    ) -> Result<Command, Failure> {
        match &effect.kind {
            EffectKind::Number => Err(Failure::Postponed(self.clock.now())),
            EffectKind::Document { format } => self.document(invoice, effect, *format).await,
            EffectKind::PaymentLink { amount } => self.link(invoice, effect, *amount).await,
            EffectKind::ExpirePaymentLink { link } => self.expire_link(effect, link).await,
            EffectKind::Charge {
                payment_method,
                amount,
            } => self.charge(invoice, effect, payment_method, *amount).await,
            EffectKind::Mail { order } => self.mail(invoice, effect, order).await,
            EffectKind::UploadNotice { to } => self.notice(invoice, effect, to).await,
        }
    }

    async fn document(
        &self,
        invoice: &Arc<Invoice>,
        effect: &PendingEffect,
        format: DocumentFormat,
    ) -> Result<Command, Failure> {
        let (object, stored) = self
            .documents
            .store(Arc::clone(invoice), &effect.id, format)
            .await
            .map_err(|error| self.document_failure(&error))?;
        let stored = StoredDocument {
            format,
            object,
            sha256: stored.sha256,
            bytes: stored.bytes,
            stored_at: self.clock.now(),
        };
        Ok(Command::CompleteDocument {
            effect: effect.id.clone(),
            stored,
        })
    }

    async fn link(
        &self,
        invoice: &Arc<Invoice>,
        effect: &PendingEffect,
        amount: Money,
    ) -> Result<Command, Failure> {
        let request = LinkRequest {
            effect: effect.id.clone(),
            organization: invoice.organization,
            invoice: invoice.id,
            amount,
            description: description(invoice),
            return_url: self.page_url(invoice).unwrap_or_default(),
        };
        match self.ask_provider(PaymentTask::CreateLink(request)).await? {
            PaymentOutcome::LinkCreated(created) => {
                let link = PaymentLink {
                    provider: self.provider.to_owned(),
                    id: created.id,
                    url: created.url,
                    amount,
                    active: true,
                    expires_at: created.expires_at,
                };
                Ok(Command::CompletePaymentLink {
                    effect: effect.id.clone(),
                    link,
                })
            }
            _ => Err(unexpected()),
        }
    }

    async fn expire_link(&self, effect: &PendingEffect, link: &str) -> Result<Command, Failure> {
        let task = PaymentTask::ExpireLink {
            link_id: link.to_owned(),
        };
        let effect = effect.id.clone();
        match self.ask_provider(task).await? {
            PaymentOutcome::LinkEnded(LinkEnd::Closed) => Ok(Command::CompleteEffect { effect }),
            PaymentOutcome::LinkEnded(LinkEnd::UnderWay) => {
                Err(Failure::Postponed(self.later(PAYMENT_UNDER_WAY)))
            }
            PaymentOutcome::LinkEnded(LinkEnd::Paid {
                payment_id,
                amount,
                method,
            }) => Ok(self.received(effect, payment_id, amount, method)),
            _ => Err(unexpected()),
        }
    }

    async fn charge(
        &self,
        invoice: &Arc<Invoice>,
        effect: &PendingEffect,
        payment_method: &str,
        amount: Money,
    ) -> Result<Command, Failure> {
        let request = ChargeRequest {
            effect: effect.id.clone(),
            organization: invoice.organization,
            invoice: invoice.id,
            amount,
            payment_method: payment_method.to_owned(),
            description: description(invoice),
            requested_at: effect.requested_at,
        };
        match self.ask_provider(PaymentTask::Charge(request)).await? {
            PaymentOutcome::Charged(ChargeOutcome::Succeeded { payment_id, method }) => {
                Ok(self.received(effect.id.clone(), payment_id, amount, method))
            }
            PaymentOutcome::Charged(ChargeOutcome::Declined { code, detail }) => {
                Ok(Command::FailCharge {
                    effect: effect.id.clone(),
                    code,
                    detail,
                })
            }
            _ => Err(unexpected()),
        }
    }

    fn received(&self, effect: EffectId, id: String, amount: Money, method: String) -> Command {
        Command::ReceiveProviderPayment {
            effect: Some(effect),
            payment: ProviderPayment {
                provider: self.provider.to_owned(),
                id,
            },
            amount,
            method,
        }
    }

    async fn ask_provider(&self, task: PaymentTask) -> Result<PaymentOutcome, Failure> {
        match self.payment.run(task).await {
            Ok(PaymentOutcome::Postponed(not_before)) => Err(Failure::Postponed(not_before)),
            Ok(PaymentOutcome::Failed(error)) => Err(Failure::Failed(provider_error(error))),
            Ok(outcome) => Ok(outcome),
            Err(error) => Err(self.pool_failure(error)),
        }
    }

    async fn mail(
        &self,
        invoice: &Arc<Invoice>,
        effect: &PendingEffect,
        order: &SendOrder,
    ) -> Result<Command, Failure> {
        let link = invoice.payment.link.as_ref().filter(|link| link.active);
        let url = link.map(|link| link.url.as_str());
        let content = render::mail::invoice_mail(invoice, order, url, &self.context)
            .map_err(|error| render_failure(&error))?;
        let attachment = self.attachment(invoice).await?;
        let mail = OutgoingMail {
            message_id: self.message_id(&effect.id),
            from_name: self.sender_name(invoice),
            from: self.mail_config.from.clone(),
            reply_to: invoice.content.issuer.email.clone(),
            to: order.to.clone(),
            cc: order.cc.clone(),
            subject: content.subject,
            text: content.text,
            html: content.html,
            attachments: attachment.into_iter().collect(),
            date: effect.requested_at,
        };
        self.send(effect, mail).await
    }

    async fn notice(
        &self,
        invoice: &Arc<Invoice>,
        effect: &PendingEffect,
        to: &str,
    ) -> Result<Command, Failure> {
        let content = render::mail::upload_notice(invoice, &self.context)
            .map_err(|error| render_failure(&error))?;
        let mail = OutgoingMail {
            message_id: self.message_id(&effect.id),
            from_name: self.sender_name(invoice),
            from: self.mail_config.from.clone(),
            reply_to: None,
            to: vec![to.to_owned()],
            cc: Vec::new(),
            subject: content.subject,
            text: content.text,
            html: content.html,
            attachments: Vec::new(),
            date: effect.requested_at,
        };
        self.send(effect, mail).await
    }

    async fn send(&self, effect: &PendingEffect, mail: OutgoingMail) -> Result<Command, Failure> {
        let message_id = mail.message_id.clone();
        match self.mail.run(mail).await {
            Ok(MailOutcome::Sent) => Ok(Command::CompleteMail {
                effect: effect.id.clone(),
                message_id,
            }),
            Ok(MailOutcome::Postponed(not_before)) => Err(Failure::Postponed(not_before)),
            Ok(MailOutcome::Failed(error)) => Err(Failure::Failed(mail_error(&error))),
            Err(error) => Err(self.pool_failure(error)),
        }
    }

    async fn attachment(&self, invoice: &Arc<Invoice>) -> Result<Option<Attachment>, Failure> {
        let Some(stored) = &invoice.document.stored else {
            return Ok(None);
        };
        let read = async { Ok(self.documents.stored(stored).await?.whole().await?) };
        let bytes = read.await.map_err(|error| self.document_failure(&error))?;
        Ok(Some(Attachment {
            file_name: render::file_name(invoice, stored.format),
            media_type: render::media_type(stored.format).to_owned(),
            bytes,
        }))
    }

    fn page_url(&self, invoice: &Invoice) -> Option<String> {
        let public_url = self.context.public_url.as_deref()?;
        Some(format!("{public_url}/i/{}", invoice.page_token()))
    }

    fn sender_name(&self, invoice: &Invoice) -> String {
        if self.mail_config.from_name.is_empty() {
            invoice.content.issuer.legal_name.clone()
        } else {
            self.mail_config.from_name.clone()
        }
    }

    /// The same for every attempt at an effect.
    fn message_id(&self, effect: &EffectId) -> String {
        let host = self
            .mail_config
            .from
            .rsplit_once('@')
            .map_or("faktor.local", |(_, host)| host);
        format!("{effect}@{host}")
    }

    pub(super) fn initiator(&self, command: &Command) -> Initiator {
        match command {
            Command::ReceiveProviderPayment { .. } | Command::FailCharge { .. } => {
                Initiator::Provider(self.provider.to_owned())
            }
            _ => Initiator::System,
        }
    }

    pub(super) fn result_command(
        &self,
        effect: &PendingEffect,
        result: Result<Command, Failure>,
    ) -> Command {
        let kind = effect.kind.name().name();
        let (state, command) = match result {
            Ok(command) => ("completed", command),
            Err(Failure::Postponed(not_before)) => {
                let until = not_before.max(self.later(POSTPONE));
                (
                    "postponed",
                    Command::PostponeEffect {
                        effect: effect.id.clone(),
                        until,
                    },
                )
            }
            Err(Failure::Failed(error)) => {
                tracing::warn!(effect.id = %effect.id, effect.attempt = effect.attempts + 1, code = error.code, "an effect failed");
                let command = self.failed(effect.id.clone(), error, effect.attempts + 1);
                ("failed", command)
            }
        };
        metrics::counter!("faktor_effects_total", "kind" => kind, "state" => state).increment(1);
        command
    }

    /// The command that notes that there is no number yet. It comes from the node's own store, which is
    /// asked until it answers: nothing is given up for its absence.
    pub(super) fn unnumbered(&self, effect: &PendingEffect, error: &StoreError) -> Command {
        let attempt = effect.attempts.saturating_add(1);
        let max_attempts = match error {
            StoreError::Unavailable { .. } => u32::MAX,
            _ => self.config.max_attempts,
        };
        Command::FailEffect {
            effect: effect.id.clone(),
            error: EffectError {
                code: "store_unavailable".to_owned(),
                detail: "the number series could not be reached".to_owned(),
                permanent: false,
                outcome_unknown: true,
            },
            retry_at: self.later(self.backoff(attempt.min(NUMBER_DELAY_GROWS))),
            max_attempts,
        }
    }

    fn failed(&self, effect: EffectId, error: EffectError, attempt: u32) -> Command {
        let retry_at = self.later(self.backoff(attempt));
        let max_attempts = self.config.max_attempts;
        Command::FailEffect {
            effect,
            error,
            retry_at,
            max_attempts,
        }
    }

    /// The first delay, doubled for each failed attempt, up to the largest; between half and all of
    /// it, so that effects that failed together do not come back together.
    fn backoff(&self, attempt: u32) -> SignedDuration {
        let doubled = self
            .config
            .first_delay_ms
            .saturating_mul(1_u64 << attempt.saturating_sub(1).min(32))
            .min(self.config.max_delay_ms);
        let jitter = u64::from(u16::from_le_bytes(clock::random_bytes::<2>()));
        let delay_ms = doubled / 2 + (doubled / 2).saturating_mul(jitter) / u64::from(u16::MAX);
        SignedDuration::from_millis(i64::try_from(delay_ms).unwrap_or(i64::MAX))
    }

    fn later(&self, delay: SignedDuration) -> Timestamp {
        self.clock
            .now()
            .checked_add(delay)
            .unwrap_or(Timestamp::MAX)
    }

    fn pool_failure(&self, error: PoolError) -> Failure {
        match error {
            PoolError::Busy => Failure::Postponed(self.later(POSTPONE)),
            PoolError::Crashed => Failure::Failed(EffectError {
                code: "worker_crashed".to_owned(),
                detail: "the worker crashed on this task".to_owned(),
                permanent: false,
                outcome_unknown: true,
            }),
        }
    }

    fn document_failure(&self, error: &DocumentError) -> Failure {
        let (code, permanent) = match error {
            DocumentError::Busy => return self.pool_failure(PoolError::Busy),
            DocumentError::Crashed => return self.pool_failure(PoolError::Crashed),
            DocumentError::Render(_) => ("document_failed", true),
            DocumentError::Media(_) => ("media_unavailable", false),
            DocumentError::Store(_) => ("store_unavailable", false),
        };
        Failure::Failed(EffectError {
            code: code.to_owned(),
            detail: error.to_string(),
            permanent,
            outcome_unknown: false,
        })
    }
}

fn description(invoice: &Invoice) -> String {
    invoice
        .issued()
        .map_or_else(|| invoice.id.to_string(), |issued| issued.number.clone())
}

fn unexpected() -> Failure {
    Failure::Failed(EffectError {
        code: "unexpected_answer".to_owned(),
        detail: "the provider answered another question".to_owned(),
        permanent: false,
        outcome_unknown: true,
    })
}

fn render_failure(error: &render::RenderError) -> Failure {
    Failure::Failed(EffectError {
        code: "mail_not_renderable".to_owned(),
        detail: error.to_string(),
        permanent: true,
        outcome_unknown: false,
    })
}

fn provider_error(error: ProviderError) -> EffectError {
    let (code, detail, permanent, outcome_unknown) = match error {
        ProviderError::Unavailable { detail } => ("provider_unavailable", detail, false, false),
        ProviderError::OutcomeUnknown { detail } => ("provider_no_answer", detail, false, true),
        ProviderError::Rejected { detail } => ("provider_rejected", detail, true, false),
    };
    EffectError {
        code: code.to_owned(),
        detail,
        permanent,
        outcome_unknown,
    }
}

fn mail_error(error: &MailError) -> EffectError {
    let (code, permanent) = match error {
        MailError::Permanent { .. } => ("mail_refused", true),
        MailError::Temporary { .. } | MailError::Unavailable { .. } => ("mail_unavailable", false),
    };
    EffectError {
        code: code.to_owned(),
        detail: error.to_string(),
        permanent,
        outcome_unknown: false,
    }
}
