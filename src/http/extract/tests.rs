//! What is taken from requests, and what is refused.

use super::*;
use crate::http::input::Field;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Body {
    name: Option<Field<String>>,
    lines: Vec<Object<Item>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    quantity: Field<rust_decimal::Decimal>,
    #[serde(default)]
    #[expect(dead_code, reason = "only its form matters")]
    tags: Vec<String>,
}

fn problem(json: &str) -> (u16, String, String) {
    let error = read_json::<Body>(json.as_bytes()).unwrap_err();
    let param = error
        .problems()
        .first()
        .map(|problem| problem.param.clone());
    (
        error.status().as_u16(),
        error.code().to_owned(),
        param.unwrap_or_default(),
    )
}

#[test]
fn a_kept_fingerprint_says_nothing_of_a_password() {
    let of = |body: &str| without_field(body.as_bytes(), "password");
    let first = of(r#"{"email": "a@b.example", "password": "one"}"#);
    assert_eq!(first, of(r#"{"password": "two", "email": "a@b.example"}"#));
    assert_ne!(first, of(r#"{"email": "c@b.example", "password": "one"}"#));
}

#[test]
fn an_unknown_field_is_named_with_its_path_and_the_allowed_ones() {
    let expected = |param: &str| (400, "unknown_field".to_owned(), param.to_owned());
    assert_eq!(problem(r#"{"nmae":"x"}"#), expected("nmae"));
    assert_eq!(
        problem(r#"{"lines":[{"quantity":1},{"quantity":1,"qty":2}]}"#),
        expected("lines[1].qty")
    );
    let error = read_json::<Body>(br#"{"nmae":"x"}"#).unwrap_err();
    assert!(error.detail().contains("`name`"), "{}", error.detail());
}

#[test]
fn a_wrong_type_says_where_and_what_is_allowed() {
    let (status, code, param) = problem(r#"{"lines":[{"quantity":1,"tags":[1]}]}"#);
    assert_eq!(
        (status, code.as_str(), param.as_str()),
        (400, "invalid_type", "lines[0].tags[0]")
    );
    assert_eq!(problem(r#"{"lines":{}}"#).2, "lines");
    assert_eq!(problem("[]").1, "invalid_type");
    assert_eq!(problem(r#"{"lines":[[1]]}"#).2, "lines[0]");
}

#[test]
fn a_missing_field_is_422_and_broken_json_400() {
    let expected = (422, "required".to_owned(), "lines[0].quantity".to_owned());
    assert_eq!(problem(r#"{"lines":[{}]}"#), expected);
    assert_eq!(problem(r#"{"lines":["#).1, "invalid_json");
    assert_eq!(problem("{} x").1, "invalid_json");
    assert_eq!(problem("").1, "invalid_json");
}

#[test]
fn a_decimal_inside_a_nested_object_is_read_exactly() {
    let body: Body =
        read_json(br#"{"name":"n","lines":[{"quantity":0.30000000000000000001}]}"#).unwrap();
    let quantity = body.lines[0].0.quantity.0.as_ref().unwrap().to_string();
    assert_eq!(quantity, "0.30000000000000000001");
    assert_eq!(body.name, Some(Field(Ok("n".to_owned()))));
}

#[test]
fn all_bad_parameters_are_told_at_once() {
    let uri = "/?limit=x&limti=3&q=a&q=b".parse().unwrap();
    let mut params = Params::of(&uri).unwrap();
    params.take::<u16>("limit", |_| Err(Malformed::new("invalid_type", "a number")));
    params.take_text("q");
    let error = params.finish().unwrap_err();
    let names: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| problem.param.as_str())
        .collect();
    assert_eq!(names, ["limit", "limti", "q"]);
    assert_eq!(error.status(), 400);
}
