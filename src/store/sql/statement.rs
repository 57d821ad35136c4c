//! A statement with its values, for either database.

use std::borrow::Cow;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};
use uuid::Uuid;

/// Text with numbered parameters, and a value for each.
///
/// It has no `Debug`: values are password hashes and e-mail addresses, too.
#[derive(Clone)]
pub(super) struct Statement {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

/// What a parameter can be.
#[derive(Clone)]
pub(super) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
    Id(Uuid),
    Flag(bool),
}

impl Statement {
    pub(super) const fn new(text: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            values: Vec::new(),
        }
    }

    /// The value of the next parameter.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Goes on with a constant text.
    pub(super) fn and(mut self, text: &'static str) -> Self {
        self.push(text);
        self
    }

    /// Goes on with the text, which must not hold anything that came from outside.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Goes on with a parameter and its value.
    pub(super) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let parameter = format!("${}", self.values.len());
        self.push(&parameter)
    }

    /// Asks for the plan of it instead.
    #[cfg(test)]
    pub(super) fn explained(&self) -> Self {
        Self {
            text: format!("EXPLAIN {}", self.text).into(),
            values: self.values.clone(),
        }
    }

    pub(super) fn for_sqlite(&self) -> Query<'static, Sqlite, SqliteArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text.clone()));
        self.values
            .iter()
            .fold(query, |query, value| match value.clone() {
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
                Value::Id(value) => query.bind(value),
                Value::Flag(value) => query.bind(value),
            })
    }

    pub(super) fn for_postgres(&self) -> Query<'static, Postgres, PgArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text.clone()));
        self.values.iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(*value),
            Value::Text(value) => query.bind(value.as_deref().map(without_nul)),
            Value::Bytes(value) => query.bind(value.as_slice()),
            Value::Id(value) => query.bind(*value),
            Value::Flag(value) => query.bind(*value),
        })
    }
}

/// PostgreSQL's texts can't hold the character U+0000, which SQLite's can: another one that can't
/// be shown stands in its place. JSON writes it as an escape, so that what is read back is whole.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Integer(value)
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Integer(Some(i64::from(value)))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Id(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_are_added_go_on_counting() {
        let mut statement = Statement::new("SELECT 1 WHERE 1 = $1").bind(1_i64);
        statement.push(" AND 2 = ").push_bind(2_i64);
        assert_eq!(statement.text, "SELECT 1 WHERE 1 = $1 AND 2 = $2");
        assert_eq!(statement.values.len(), 2);
    }

    #[test]
    fn a_text_for_postgresql_holds_no_nul() {
        assert_eq!(without_nul("a\0b"), "a\u{fffd}b");
        assert_eq!(without_nul("ab"), "ab");
    }
}
