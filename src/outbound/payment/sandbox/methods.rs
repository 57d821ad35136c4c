//! The payment methods one can play with.

/// A payment method of the sandbox.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// What a request names it by: `pm_ok`.
    pub id: &'static str,
    /// What the checkout page shows.
    pub label: &'static str,
    pub(super) behaviour: Behaviour,
}

/// What happens when a method is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Succeed,
    Decline {
        code: &'static str,
        detail: &'static str,
    },
    /// Succeeds, but takes its time.
    Slow,
    /// Nothing happens: there is no service.
    Unavailable,
    /// Succeeds, but the first answer never arrives.
    LoseReply,
}

/// All methods, in the order the checkout page shows them.
pub const METHODS: [Method; 5] = [
    Method {
        id: "pm_ok",
        label: "Card that pays",
        behaviour: Behaviour::Succeed,
    },
    Method {
        id: "pm_declined",
        label: "Card that is declined",
        behaviour: Behaviour::Decline {
            code: "card_declined",
            detail: "The card was declined.",
        },
    },
    Method {
        id: "pm_slow",
        label: "Card that pays slowly",
        behaviour: Behaviour::Slow,
    },
    Method {
        id: "pm_unavailable",
        label: "Bank that can't be reached",
        behaviour: Behaviour::Unavailable,
    },
    Method {
        id: "pm_lost_reply",
        label: "Card that pays, but the answer is lost",
        behaviour: Behaviour::LoseReply,
    },
];

/// Any other method: declined, as the payer can choose another one.
pub(super) static UNKNOWN: Method = Method {
    id: "unknown",
    label: "Unknown method",
    behaviour: Behaviour::Decline {
        code: "invalid_payment_method",
        detail: "The sandbox does not know this payment method.",
    },
};

static KNOWN: &[Method] = &METHODS;

pub(super) fn known(id: &str) -> Option<&'static Method> {
    KNOWN.iter().find(|method| method.id == id)
}
