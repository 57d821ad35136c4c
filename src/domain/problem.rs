//! A problem with one field of what a caller sent.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One problem with one field: where, what kind, and a sentence that says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The path of the field, such as `lines[2].unit_price`.
    pub param: String,
    /// A stable machine-readable code, such as `too_long`.
    pub code: Cow<'static, str>,
    /// A sentence for a person; names what is allowed.
    pub detail: String,
}

/// Collects problems, so that a caller hears of all of them at once.
#[derive(Debug, Default)]
pub struct Problems {
    path: String,
    found: Vec<Problem>,
}

impl Problems {
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a problem with `field` (relative to the present path; empty means the path itself).
    pub fn add(&mut self, field: &str, code: &'static str, detail: impl Into<String>) {
        let param = match (self.path.as_str(), field) {
            (path, "") => path.to_owned(),
            ("", field) => field.to_owned(),
            (path, field) => format!("{path}.{field}"),
        };
        self.found.push(Problem {
            param,
            code: Cow::Borrowed(code),
            detail: detail.into(),
        });
    }

    /// Runs `check` with `field` appended to the path.
    pub fn within<T>(&mut self, field: &str, check: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if !self.path.is_empty() && !field.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(field);
        let result = check(self);
        self.path.truncate(length);
        result
    }

    /// Runs `check` with `field[index]` appended to the path.
    pub fn within_item<T>(
        &mut self,
        field: &str,
        index: usize,
        check: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        let _ = write!(self.path, "{field}[{index}]");
        let result = check(self);
        self.path.truncate(length);
        result
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many problems were found so far.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    pub fn into_vec(self) -> Vec<Problem> {
        self.found
    }

    /// `Ok(value)` when nothing was found.
    pub fn finish<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.found.is_empty() {
            Ok(value)
        } else {
            Err(self.found)
        }
    }
}
