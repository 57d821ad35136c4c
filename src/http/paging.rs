//! Lists: `limit`, `starting_after`, and the form of their answer.

use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;

use super::extract::Params;
use super::input::{Malformed, parse_id};
use crate::domain::ids::InvalidId;
use crate::store::{Page, PageRequest};

/// How many items a list has unless `limit` says otherwise.
pub const DEFAULT_LIMIT: u16 = 20;
pub const MAX_LIMIT: u16 = 100;

/// Takes `limit`.
pub fn take_limit(params: &mut Params) -> u16 {
    let read = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| Malformed::new("out_of_range", "expected a whole number from 1 to 100"))
    };
    params.take("limit", read).unwrap_or(DEFAULT_LIMIT)
}

/// Takes `limit` and `starting_after`.
pub fn take_page<Id: FromStr<Err = InvalidId>>(params: &mut Params) -> PageRequest<Id> {
    PageRequest {
        limit: take_limit(params),
        starting_after: params.take("starting_after", parse_id),
    }
}

/// A part of a list, newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct List<T> {
    pub data: Vec<T>,
    /// Whether there is more after the last item.
    pub has_more: bool,
    /// Give this as `starting_after` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> List<T> {
    /// Shows every item of `page` with `show`; `id` gives the cursor.
    pub fn of<I, Id: Display>(
        page: &Page<I>,
        id: impl Fn(&I) -> Id,
        show: impl Fn(&I) -> T,
    ) -> Self {
        let next = page
            .data
            .last()
            .filter(|_| page.has_more)
            .map(|last| id(last).to_string());
        Self {
            data: page.data.iter().map(show).collect(),
            has_more: page.has_more,
            next,
        }
    }
}
