//! Payments through Stripe: a whole node against a Stripe that is played. What it plays is written
//! after Stripe's documentation; docs/backends/stripe.md says what that can't show.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it can't go on"
)]

#[path = "../support/mod.rs"]
mod support;

use support::backends;

mod charges;
mod fake;
mod links;
mod start;
mod webhooks;
