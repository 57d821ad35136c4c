//! What errors become for who asked.

use super::*;
use crate::domain::problem::Problems;

#[test]
fn one_problem_of_form_makes_the_whole_answer_400_and_all_are_shown() {
    let mut problems = Problems::new();
    problems.add("name", "too_long", "at most 200 characters");
    assert_eq!(ApiError::invalid(problems.into_vec()).status(), 422);
    let mut problems = Problems::new();
    problems.add("name", "too_long", "at most 200 characters");
    problems.add("due_on", "invalid_date", "expected YYYY-MM-DD");
    let error = ApiError::invalid(problems.into_vec());
    assert_eq!((error.status().as_u16(), error.problems().len()), (400, 2));
}

#[test]
fn a_broken_store_shows_nothing_of_itself() {
    let error = ApiError::from(StoreError::Corrupt {
        reason: "table users, row 7".to_owned(),
    });
    let mut response = Response::new(Body::empty());
    error.render(&mut response, "r");
    assert_eq!(response.status(), 500);
    assert!(!error.detail().contains("users"));
    assert!(error.cause().is_some_and(|cause| cause.contains("row 7")));
}

#[test]
fn an_invoice_that_would_be_too_large_is_refused_with_both_sizes() {
    let error = ApiError::from(StoreError::TooLarge {
        bytes: 9_000_000,
        allowed: 8_388_608,
    });
    assert_eq!(
        (error.status().as_u16(), error.code()),
        (422, "invoice_too_large")
    );
    for size in ["9000000", "8388608"] {
        assert!(error.detail().contains(size), "{}", error.detail());
    }
}

#[test]
fn a_state_conflict_says_which() {
    use crate::domain::invoice::Status;
    let error = ApiError::from(Refusal::InvoiceNotDraft {
        status: Status::Open,
    });
    assert_eq!(
        (error.status().as_u16(), error.code()),
        (409, "invoice_not_draft")
    );
    assert_eq!(title("invoice_not_draft"), "Invoice not draft");
}
