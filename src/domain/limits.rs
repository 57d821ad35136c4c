//! Every bound on what an invoice may hold, in one place. The API documents them and tests reach
//! for both sides of each.

/// Lines of one invoice.
pub const LINES: usize = 1_000;
/// Discounts of one invoice, and charges of one invoice.
pub const ALLOWANCES: usize = 20;
/// Keys of one metadata object.
pub const METADATA_KEYS: usize = 50;
pub const METADATA_KEY_CHARS: usize = 40;
pub const METADATA_VALUE_CHARS: usize = 500;
/// Names, cities, references and other one-line texts.
pub const NAME_CHARS: usize = 200;
/// A line's description.
pub const DESCRIPTION_CHARS: usize = 1_000;
/// Memos, reasons, messages and other longer texts.
pub const TEXT_CHARS: usize = 5_000;
pub const EMAIL_CHARS: usize = 254;
/// Recipients of one mail (to and cc together).
pub const RECIPIENTS: usize = 20;
/// Digits behind the point of a unit price and of a quantity.
pub const UNIT_PRICE_DECIMALS: u32 = 6;
pub const QUANTITY_DECIMALS: u32 = 6;
/// Digits behind the point of a rate or percentage.
pub const PERCENT_DECIMALS: u32 = 4;
/// A quantity lies between minus and plus this.
pub const QUANTITY_MAX: i64 = 100_000_000;
/// A unit price lies between 0 and this, in major units.
pub const UNIT_PRICE_MAX: i64 = 1_000_000_000_000;
/// A tax rate lies between 0 and this, in percent.
pub const TAX_RATE_MAX: i64 = 100;
/// Payments recorded on one invoice.
pub const PAYMENTS: usize = 1_000;
/// Days between issue and due date.
pub const DUE_IN_DAYS: u16 = 3_650;
/// Remembered idempotency keys of one invoice; the oldest beyond 24 hours go first.
pub const REMEMBERED_REQUESTS: usize = 128;
