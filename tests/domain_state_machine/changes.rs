//! Changes of parts of a draft.

use faktor::domain::invoice::change::ContentChange;
use faktor::domain::invoice::command::Command;
use serde_json::{Value, json};

use crate::domain_fixture::content;

pub(crate) fn memo(memo: Option<&str>) -> Command {
    Command::Change {
        change: Box::new(ContentChange {
            memo: Some(memo.map(str::to_owned)),
            ..ContentChange::default()
        }),
    }
}

#[test]
fn what_is_not_given_stays() {
    assert_eq!(ContentChange::default().over(content()), content());
    let mut before = content();
    before.memo = Some("as before".to_owned());
    let change = ContentChange {
        memo: Some(None),
        reference: Some(Some("R-7".to_owned())),
        ..ContentChange::default()
    };
    let after = change.over(before);
    assert_eq!(
        (after.memo, after.reference.as_deref()),
        (None, Some("R-7"))
    );
    assert_eq!(
        (after.lines, after.bill_to),
        (content().lines, content().bill_to)
    );
}

#[test]
fn between_nodes_clearing_is_told_from_leaving() {
    let change = ContentChange {
        memo: Some(None),
        ship_to: Some(Some(Box::default())),
        due_in_days: Some(30),
        ..ContentChange::default()
    };
    let written = serde_json::to_value(&change).unwrap();
    assert_eq!(written.get("memo"), Some(&Value::Null));
    assert_eq!(written.get("reference"), None);
    let read: ContentChange = serde_json::from_value(written).unwrap();
    assert_eq!(read, change);
    let nothing: ContentChange = serde_json::from_value(json!({})).unwrap();
    assert_eq!(nothing, ContentChange::default());
}
