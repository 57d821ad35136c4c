//! What the clients asked and what they were told, with when: all that a checker needs to know.

use std::fmt;
use std::time::Duration;

use faktor::domain::ids::InvoiceId;

/// What is asked of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Edit,
    Finalize,
    Send,
    /// With a method of the sandbox.
    Pay(&'static str),
    RecordPayment,
    Void,
    Read,
}

impl Kind {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Edit => "edit",
            Self::Finalize => "finalize",
            Self::Send => "send",
            Self::Pay(_) => "pay",
            Self::RecordPayment => "record_payment",
            Self::Void => "void",
            Self::Read => "read",
        }
    }
}

/// One request of a client, with its repeats.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// Its own: mostly the `Idempotency-Key`, and written into what the command leaves behind.
    pub(crate) key: String,
    pub(crate) kind: Kind,
    /// None for a create that was never answered.
    pub(crate) invoice: Option<InvoiceId>,
    pub(crate) attempts: Vec<Attempt>,
}

/// One time that it was asked. Times are since the recording began.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) node: usize,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) reply: Reply,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// Carried out; a charge that brought no money was carried out, too.
    Done { status: u16, shown: Option<Shown> },
    /// A no that another attempt would not change.
    Refused { status: u16, code: String },
    /// Perhaps it was carried out, perhaps not, or it still will be.
    Unknown { why: String },
    /// Surely not carried out: nobody took the connection.
    NotTaken { why: String },
}

/// The part of an answered invoice that is compared with the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) version: u64,
    pub(crate) status: String,
    pub(crate) number: Option<String>,
    pub(crate) paid: String,
}

impl Operation {
    pub(crate) fn began(&self) -> Duration {
        self.attempts
            .first()
            .map_or(Duration::ZERO, |first| first.began)
    }

    /// When it was said to be done.
    pub(crate) fn acknowledged(&self) -> Option<Duration> {
        let done = |attempt: &&Attempt| matches!(attempt.reply, Reply::Done { .. });
        self.attempts.iter().find(done).map(|done| done.ended)
    }

    pub(crate) fn shown(&self) -> Option<&Shown> {
        self.attempts
            .iter()
            .find_map(|attempt| match &attempt.reply {
                Reply::Done { shown, .. } => shown.as_ref(),
                _ => None,
            })
    }

    pub(crate) fn refused(&self) -> Option<u16> {
        self.attempts
            .iter()
            .find_map(|attempt| match &attempt.reply {
                Reply::Refused { status, .. } => Some(*status),
                _ => None,
            })
    }

    /// Whether an attempt may have been carried out without anybody having said so.
    pub(crate) fn is_open(&self) -> bool {
        self.attempts
            .iter()
            .any(|attempt| matches!(attempt.reply, Reply::Unknown { .. }))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let invoice = self
            .invoice
            .map_or_else(|| "-".to_owned(), |invoice| invoice.to_string());
        write!(f, "{} {} {invoice}", self.key, self.kind.name())?;
        for attempt in &self.attempts {
            let (began, ended) = (attempt.began.as_millis(), attempt.ended.as_millis());
            write!(
                f,
                " | n{} {began}..{ended} ms {:?}",
                attempt.node + 1,
                attempt.reply
            )?;
        }
        Ok(())
    }
}

/// One press of the button on a checkout page. Times are as those of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// The page's: `cs_…`.
    pub(crate) session: String,
    pub(crate) invoice: InvoiceId,
    /// With a method of the sandbox.
    pub(crate) method: &'static str,
    pub(crate) node: usize,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) outcome: Outcome,
}

/// What a visitor was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By this press.
    Paid,
    Declined,
    /// Nothing happened: the page was paid before.
    AlreadyPaid,
    /// Nothing happened: the page was taken down.
    Expired,
    /// There is no such page.
    Missing,
    /// Surely nothing happened: nobody took the connection.
    NotTaken {
        why: String,
    },
    /// Perhaps it was paid, perhaps not, or it still will be.
    Unknown {
        why: String,
    },
    /// What no page answers; perhaps it was paid.
    Strange {
        status: u16,
    },
}

impl Outcome {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Declined => "declined",
            Self::AlreadyPaid => "already_paid",
            Self::Expired => "expired",
            Self::Missing => "missing",
            Self::NotTaken { .. } => "not_taken",
            Self::Unknown { .. } => "unknown",
            Self::Strange { .. } => "strange",
        }
    }

    /// Whether it may have brought money.
    pub(crate) const fn may_have_paid(&self) -> bool {
        matches!(
            self,
            Self::Paid | Self::Unknown { .. } | Self::Strange { .. }
        )
    }

    /// Whether it may have left a charge in the provider's books, be it a declined one.
    pub(crate) const fn may_have_charged(&self) -> bool {
        self.may_have_paid() || matches!(self, Self::Declined)
    }
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (began, ended) = (self.began.as_millis(), self.ended.as_millis());
        write!(
            f,
            "visit {} {} {} | n{} {began}..{ended} ms {:?}",
            self.session,
            self.invoice,
            self.method,
            self.node + 1,
            self.outcome
        )
    }
}
