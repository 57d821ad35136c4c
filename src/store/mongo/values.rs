//! How values stand in documents: ids as the API writes them, times as dates of whole milliseconds,
//! dates as text, and whatever must come back exactly as JSON text.

use bson::DateTime;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::corrupt;
use crate::json;
use crate::store::StoreError;

/// Versions, epochs and positions: far below 2^63, so that a larger one can only be damage.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(corrupt)
}

/// Cut to the millisecond before. So a time stays on its day, and lists keep their order.
pub(super) fn date_time(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_microsecond().div_euclid(1_000))
}

/// The millisecond at or after, so that an alarm never rings too early.
pub(super) fn alarm_time(at: Timestamp) -> DateTime {
    DateTime::from_millis((at.as_microsecond() + 999).div_euclid(1_000))
}

pub(super) fn timestamp(at: DateTime) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(at.timestamp_millis()).map_err(corrupt)
}

/// The first moment of a day, UTC.
pub(super) fn start_of(day: Date) -> Result<DateTime, StoreError> {
    let start = day.to_zoned(TimeZone::UTC).map_err(corrupt)?;
    Ok(date_time(start.timestamp()))
}

pub(super) fn json_text<T: Serialize>(value: &T) -> Result<String, StoreError> {
    let text = json::written(value, |bytes| str::from_utf8(bytes).map(str::to_owned));
    text.map_err(corrupt)?.map_err(corrupt)
}

pub(super) fn parse_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_stays_on_its_day_and_an_alarm_never_rings_too_early() {
        for (micros, cut, alarm) in [
            (1_000, 1, 1),
            (1_001, 1, 2),
            (1_999, 1, 2),
            (-1, -1, 0),
            (-1_000, -1, -1),
        ] {
            let at = Timestamp::from_microsecond(micros).unwrap();
            assert_eq!(date_time(at).timestamp_millis(), cut, "{micros}");
            assert_eq!(alarm_time(at).timestamp_millis(), alarm, "{micros}");
        }
    }
}
