//! How values stand in columns: ids as UUIDs (16 bytes in SQLite), timestamps as microseconds, dates
//! as text, the rest as JSON.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row as _, Type};
use uuid::Uuid;

use super::error::{corrupt, fault};
use crate::json;
use crate::store::StoreError;

pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// Versions, counts and positions: far below 2^63, so that a larger one can only be damage.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn date_text(date: Date) -> String {
    date.to_string()
}

pub(super) fn json_text<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(corrupt)
}

/// JSON that is bound to a statement without being copied.
pub(super) fn shared_json<T: Serialize>(value: &T) -> Result<Arc<str>, StoreError> {
    let text = json::written(value, |bytes| str::from_utf8(bytes).map(Arc::from));
    text.map_err(corrupt)?.map_err(corrupt)
}

fn parse_timestamp(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(corrupt)
}

/// A row of either database; columns are read by name, in the domain's types.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn get_as<'r, T>(&'r self, column: &str) -> Result<T, StoreError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(fault)
    }

    pub(super) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.get_as(column)
    }

    pub(super) fn bytes(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        self.get_as(column)
    }

    pub(super) fn flag(&self, column: &str) -> Result<bool, StoreError> {
        self.get_as(column)
    }

    pub(super) fn id(&self, column: &str) -> Result<Uuid, StoreError> {
        self.get_as(column)
    }

    pub(super) fn integer(&self, column: &str) -> Result<i64, StoreError> {
        self.get_as(column)
    }

    pub(super) fn unsigned(&self, column: &str) -> Result<u64, StoreError> {
        u64::try_from(self.integer(column)?).map_err(corrupt)
    }

    pub(super) fn date(&self, column: &str) -> Result<Date, StoreError> {
        self.get_as::<&str>(column)?.parse().map_err(corrupt)
    }

    pub(super) fn timestamp(&self, column: &str) -> Result<Timestamp, StoreError> {
        parse_timestamp(self.get_as(column)?)
    }

    pub(super) fn optional_timestamp(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        self.get_as::<Option<i64>>(column)?
            .map(parse_timestamp)
            .transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_str(self.get_as(column)?).map_err(corrupt)
    }
}

/// A LIKE pattern that finds `part` anywhere in a lower-case column; goes with `ESCAPE '\'`.
pub(super) fn contains_pattern(part: &str) -> String {
    let mut pattern = String::with_capacity(part.len() + 2);
    pattern.push('%');
    for character in part.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_a_search_are_plain_characters() {
        assert_eq!(contains_pattern("50%_Ä\\"), r"%50\%\_ä\\%");
    }
}
