//! Bodies made up from the OpenAPI document: whatever comes in, no answer is a 5xx.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Map, Value, json};

use crate::drafts::made;
use crate::edge::{Edge, edge};

const SEED: u64 = 0x5eed_1234_5678_9abc;
const BODIES_PER_ROUTE: usize = 100;

/// A small generator (xorshift64*): the same bodies on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % end
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// Values that are wrong in most places, and right in some.
fn any_value(random: &mut Random, depth: usize) -> Value {
    let long = "é".repeat(6_000);
    let scalars = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!("\u{0}\r\n\u{202e}"),
        json!("99.90"),
        json!("-0.000000000000000000000000001"),
        json!("79228162514264337593543950335"),
        json!("1e28"),
        json!("100000000"),
        json!("EUR"),
        json!("JPY"),
        json!("2025-02-30"),
        json!("9999-12-31"),
        json!("9999-12-30T22:00:00.999999999Z"),
        json!("-009999-01-02T01:59:59Z"),
        json!("ap@ada.example"),
        json!("inv_00000000000000000000000000000007"),
        json!("cus_00000000000000000000000000000007"),
        json!("S"),
        json!("pm_ok"),
        json!("{YYYY}-{0000}"),
        json!(long),
    ];
    match random.below(10) {
        0 if depth > 0 => Value::Array(
            (0..random.below(4))
                .map(|_| any_value(random, depth - 1))
                .collect(),
        ),
        1 if depth > 0 => json!({"name": any_value(random, depth - 1), "x": 1}),
        _ => random.pick(&scalars),
    }
}

/// A body with the fields of a schema; one value in `tame` is any other.
fn body(document: &Value, schema: &Value, random: &mut Random, tame: usize) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
        return body(document, schema, random, tame);
    }
    if random.below(tame) == 0 {
        return any_value(random, 2);
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(schemas) = schema[several].as_array() {
            let schema = random.pick(schemas);
            return body(document, &schema, random, tame);
        }
    }
    let example = &schema["example"];
    if !example.is_null() && random.below(2) == 0 {
        return example.clone();
    }
    if let Some(properties) = schema["properties"].as_object() {
        let fields = properties.iter().filter_map(|(name, schema)| {
            let given = random.below(tame) > 2;
            given.then(|| (name.clone(), body(document, schema, random, tame)))
        });
        return Value::Object(fields.collect::<Map<_, _>>());
    }
    if schema["items"].is_object() {
        let items = (0..random.below(3)).map(|_| body(document, &schema["items"], random, tame));
        return items.collect();
    }
    if example.is_null() {
        json!("x")
    } else {
        example.clone()
    }
}

/// Whether the body was taken; it never may break anything.
async fn send(edge: &Edge, method: &str, path: &str, text: String) -> bool {
    let request = Request::builder()
        .method(method.to_uppercase().as_str())
        .uri(path)
        .header("authorization", format!("Bearer {}", edge.token))
        .header("content-type", "application/json")
        .body(Body::from(text.clone()))
        .unwrap();
    let answer = edge.answer(request).await;
    let allowed = answer.status.as_u16() < 500;
    assert!(
        allowed,
        "{method} {path} {text}: {} {}",
        answer.status, answer.text
    );
    answer.status.is_success()
}

#[tokio::test]
async fn no_body_whatever_it_says_is_answered_with_a_5xx() {
    let edge = edge().await;
    let document = edge
        .send("", "GET", "/openapi.json", None, &[])
        .await
        .expect(200);
    let invoice = made(&edge).await["id"].as_str().unwrap().to_owned();
    let customer = edge
        .post("/v1/customers", json!({"name": "Ada"}))
        .await
        .expect(201);
    let customer = customer["id"].as_str().unwrap().to_owned();
    let mut random = Random(SEED);
    let (mut routes, mut taken) = (0, 0);
    for (template, item) in document["paths"].as_object().unwrap() {
        // Passwords take their time by design; those routes have a fuzz of their own rules.
        let slow = [
            "/v1/auth",
            "/v1/users",
            "/v1/me",
            "/v1/setup",
            "/upload",
            "/v1/webhooks",
        ];
        if slow.iter().any(|prefix| template.starts_with(prefix)) {
            continue;
        }
        let id = if template.contains("/customers/") {
            &customer
        } else {
            &invoice
        };
        let path = template.replace("{id}", id);
        for (method, operation) in item.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            routes += 1;
            for _ in 0..BODIES_PER_ROUTE {
                let tame = random.pick(&[4, 20, 200]);
                let text = body(&document, schema, &mut random, tame).to_string();
                taken += u32::from(send(&edge, method, &path, text).await);
            }
            for text in [
                "",
                "{",
                "null",
                "[]",
                "\u{feff}{}",
                "{\"a\":1}{",
                "1e999999",
            ] {
                send(&edge, method, &path, text.to_owned()).await;
            }
            send(&edge, method, &path, "[".repeat(100_000)).await;
        }
    }
    assert!(routes >= 12, "only {routes} routes were tried");
    assert!(
        taken >= 50,
        "only {taken} bodies were taken: they test too little"
    );
}
