//! Bodies bent by a seeded generator, and broken as text.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// `SplitMix64`: the same bodies in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Values in the form that they have on the wire.
const NASTY: [&str; 58] = [
    "null",
    "true",
    "0",
    "-0",
    "-1",
    "1",
    "1e400",
    "-1e400",
    "1e-400",
    "1E+2",
    "0.1",
    "1e15",
    "9223372036854775807",
    "9223372036854775808",
    "79228162514264337593543950335",
    "0.0000000000000000000000000000000000001",
    "123456789012345678901234567890.123456789",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"\\r\\nBcc: x@evil.example\"",
    "\"\\u202e\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"1e400\"",
    "\"-0.00\"",
    "\"NaN\"",
    "\"Infinity\"",
    "\"1.005\"",
    "\"100000000\"",
    "\"1000000000000\"",
    "\"0.000001\"",
    "\"S\"",
    "\"AE\"",
    "\"EUR\"",
    "\"JPY\"",
    "\"KWD\"",
    "\"XXX\"",
    "\"de\"",
    "\"vi\"",
    "\"letter\"",
    "\"per_line\"",
    "\"2025-02-30\"",
    "\"-9999-01-01\"",
    "\"9999-12-31\"",
    "\"2999-01-01T00:00:00Z\"",
    "\"-009999-01-02T00:00:00Z\"",
    "\"9999-12-31T23:59:59.999Z\"",
    "\"cus_00000000000000000000000000000007\"",
    "\"inv_1\"",
    "\"=1+1\"",
    "\"<script>\"",
    "\"../../etc\"",
    "[]",
    "{}",
    "[[[[[[[[[[]]]]]]]]]]",
    "{\"a\":{\"b\":[1,2,{\"c\":null}]}}",
    "[null]",
];

const SIGN: &str = "\u{1}raw:";

/// A value that [`written`] puts down as it is.
fn raw(text: &str) -> Value {
    Value::String(format!("{SIGN}{text}"))
}

fn written(value: &Value, text: &mut String) {
    match value {
        Value::String(string) if string.starts_with(SIGN) => text.push_str(&string[SIGN.len()..]),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                written(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (at, (name, field)) in fields.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                let _ = write!(text, "{}:", Value::String(name.clone()));
                written(field, text);
            }
            text.push('}');
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The part number `at` of a value, in the order of [`count`].
fn part<'a>(value: &'a mut Value, at: &mut usize) -> Option<&'a mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| part(item, at)),
        Value::Object(fields) => fields.values_mut().find_map(|field| part(field, at)),
        _ => None,
    }
}

pub(super) fn bend(random: &mut Random, body: &mut Value) {
    let mut at = random.below(count(body));
    let Some(place) = part(body, &mut at) else {
        return;
    };
    match (random.below(8), place) {
        (0, Value::Object(fields)) if !fields.is_empty() => {
            let name = fields
                .keys()
                .nth(random.below(fields.len()))
                .cloned()
                .unwrap();
            fields.remove(&name);
        }
        (1, Value::Object(fields)) => {
            fields.insert("nonsense".to_owned(), json!(1));
        }
        (2, Value::Array(items)) if !items.is_empty() => {
            let item = items[random.below(items.len())].clone();
            items.extend(std::iter::repeat_n(
                item,
                *random.pick(&[1, 20, 999, 1_001]),
            ));
        }
        (3, Value::String(text)) if !text.starts_with(SIGN) => {
            let longer = *random.pick(&[2, 50, 201, 5_001]);
            *text = text.repeat(longer).chars().take(20_000).collect();
        }
        (4, place) => *place = json!([place.clone()]),
        (5, Value::Object(fields)) => {
            let many = (0..*random.pick(&[51, 200])).map(|n| (format!("k{n}"), json!("v")));
            fields.extend(many);
        }
        (_, place) => *place = raw(random.pick::<&str>(&NASTY)),
    }
}

/// The body's bytes, at times broken themselves.
pub(super) fn bytes(random: &mut Random, body: &Value) -> Vec<u8> {
    let mut text = String::new();
    written(body, &mut text);
    let mut bytes = text.into_bytes();
    match random.below(24) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let at = random.below(bytes.len());
            bytes.insert(
                at,
                *random.pick(&[0, b'"', b'{', b']', b',', 0xff, 0xc3, b'\\', b'9']),
            );
        }
        2 => bytes = [b"[".repeat(*random.pick(&[100, 200, 50_000])), bytes].concat(),
        3 => bytes.clear(),
        _ => {}
    }
    bytes
}
