//! `/v1/users`.

use serde_json::{Value, json};

use super::edge::{EMAIL, PASSWORD, edge, user_body};

#[tokio::test]
async fn a_user_is_made_read_changed_listed_and_removed_and_its_password_never_shown() {
    let edge = edge().await;
    let made = edge
        .post("/v1/users", user_body("Bob@Example.com", &["accountant"]))
        .await;
    let user = made.expect(201);
    assert_eq!(user["object"], "user");
    assert_eq!(
        user["email"], "bob@example.com",
        "addresses are kept in lower case"
    );
    assert_eq!(user["version"], 1);
    assert_eq!(user["created_at"], "2027-01-15T08:00:00.000Z");
    let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
    assert_eq!(
        (made.header("etag"), made.header("location")),
        ("\"1\"", path.as_str())
    );

    let read = edge.get(&path).await;
    assert_eq!(read.expect(200), user);
    assert_eq!(read.header("etag"), "\"1\"");
    let known = edge
        .send(
            &edge.token,
            "GET",
            &path,
            None,
            &[("if-none-match", "\"1\"")],
        )
        .await;
    known.expect(304);

    let changed = edge
        .patch(&path, json!({"first_name": "Robert", "roles": []}))
        .await;
    assert_eq!(changed.header("etag"), "\"2\"");
    let changed_user = changed.expect(200);
    assert_eq!(changed_user["first_name"], "Robert");
    assert_eq!(changed_user["last_name"], "Byte");
    assert_eq!(changed_user["roles"], json!([]));

    let listed = edge.get("/v1/users?limit=1").await;
    assert_eq!(listed.expect(200)["has_more"], true);
    for answer in [&made, &read, &changed, &listed] {
        assert!(!answer.text.contains("password") && !answer.text.contains("argon2"));
    }
    edge.delete(&path).await.expect(204);
    edge.get(&path).await.refused(404, "not_found");
    edge.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn lists_are_newest_first_and_go_on_from_a_cursor() {
    let edge = edge().await;
    for n in 0..4 {
        edge.later_s(1);
        edge.post("/v1/users", user_body(&format!("u{n}@example.com"), &[]))
            .await
            .expect(201);
    }
    let mut emails = Vec::new();
    let mut path = "/v1/users?limit=2".to_owned();
    loop {
        let page = edge.get(&path).await.expect(200);
        let data = page["data"].as_array().unwrap();
        emails.extend(
            data.iter()
                .map(|user| user["email"].as_str().unwrap().to_owned()),
        );
        if page["has_more"] == json!(false) {
            break;
        }
        path = format!(
            "/v1/users?limit=2&starting_after={}",
            page["next"].as_str().unwrap()
        );
    }
    let expected: Vec<_> = (0..4).rev().map(|n| format!("u{n}@example.com")).collect();
    assert_eq!(emails[..4], expected);
    assert_eq!(emails[4], EMAIL);
    edge.get("/v1/users?limit=0")
        .await
        .refused(400, "out_of_range");
    edge.get("/v1/users?limit=101")
        .await
        .refused(400, "out_of_range");
    edge.get("/v1/users?limits=1")
        .await
        .refused(400, "unknown_field");
}

#[tokio::test]
async fn both_sides_of_every_limit() {
    let edge = edge().await;
    let twenty: Vec<_> = (0..19).map(|n| format!("r{n}")).collect();
    for name in &twenty {
        edge.role(name, &[]).await;
    }
    let mut twenty: Vec<&str> = twenty.iter().map(String::as_str).collect();
    twenty.push("accountant");
    let mut twenty_one = twenty.clone();
    twenty_one.push("administrator");
    let long = |chars: usize| "ä".repeat(chars);
    let mail_of = |chars: usize| {
        let local = "l".repeat(64);
        let label = |n: usize| "d".repeat(n);
        let rest = chars - 64 - 1 - 3 * 62 - 1;
        format!(
            "{local}@{}.{}.{}.{}",
            label(61),
            label(61),
            label(61),
            label(rest + 1)
        )
    };
    let cases: Vec<(&str, Value, Option<&str>)> = vec![
        ("password", json!(long(11)), Some("too_short")),
        ("password", json!(long(12)), None),
        ("password", json!(long(200)), None),
        ("password", json!(long(201)), Some("too_long")),
        ("first_name", json!(long(1)), None),
        ("first_name", json!(long(200)), None),
        ("first_name", json!(long(201)), Some("too_long")),
        ("first_name", json!(" "), Some("required")),
        ("last_name", json!("a\nb"), Some("invalid_character")),
        ("last_name", json!(long(201)), Some("too_long")),
        ("email", json!(mail_of(254)), None),
        ("email", json!(mail_of(255)), Some("too_long")),
        ("email", json!("not an address"), Some("invalid_email")),
        (
            "email",
            json!("a@b.example\r\nBcc: x@y.example"),
            Some("invalid_email"),
        ),
        ("roles", json!([]), None),
        ("roles", json!(twenty), None),
        ("roles", json!(twenty_one), Some("too_many")),
    ];
    for (n, (field, value, refusal)) in cases.into_iter().enumerate() {
        let mut body = user_body(&format!("u{n}@example.com"), &[]);
        body[field] = value;
        let answer = edge.post("/v1/users", body).await;
        match refusal {
            None => {
                answer.expect(201);
            }
            Some(code) => assert_eq!(answer.refused(422, code)["param"], field),
        }
    }
}

#[tokio::test]
async fn all_problems_of_a_body_are_told_at_once() {
    let edge = edge().await;
    let body = json!({"first_name": 7, "email": "x", "roles": ["accountant", "boss", "accountant"],
                      "password": "short"});
    let problem = edge.post("/v1/users", body).await.expect(400);
    let mut params: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (
                error["param"].as_str().unwrap(),
                error["code"].as_str().unwrap(),
            )
        })
        .collect();
    params.sort_unstable();
    assert_eq!(
        params,
        [
            ("email", "invalid_email"),
            ("first_name", "invalid_type"),
            ("last_name", "required"),
            ("password", "too_short"),
            ("roles[1]", "unknown_role"),
            ("roles[2]", "repeated"),
        ]
    );
    edge.post("/v1/users", json!({"fist_name": "x"}))
        .await
        .refused(400, "unknown_field");
    edge.patch("/v1/users/usr_1", json!({}))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn an_address_belongs_to_one_user_whatever_its_case() {
    let edge = edge().await;
    let answer = edge
        .post("/v1/users", user_body("ADA@example.com", &[]))
        .await;
    assert_eq!(answer.refused(409, "email_taken")["param"], "email");
    let (id, _) = edge.user("bob@example.com", &[]).await;
    let path = format!("/v1/users/{id}");
    edge.patch(&path, json!({"email": EMAIL}))
        .await
        .refused(409, "email_taken");
    edge.patch(&path, json!({"email": "BOB@example.com"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_change_with_an_old_version_is_refused() {
    let edge = edge().await;
    let (id, _) = edge.user("bob@example.com", &[]).await;
    let path = format!("/v1/users/{id}");
    let change = async |version: &str| {
        let body = Some(json!({"first_name": "Rob"}));
        edge.send(&edge.token, "PATCH", &path, body, &[("if-match", version)])
            .await
    };
    change("\"1\"").await.expect(200);
    change("\"1\"").await.refused(412, "version_mismatch");
    let delete = edge
        .send(&edge.token, "DELETE", &path, None, &[("if-match", "\"1\"")])
        .await;
    delete.refused(412, "version_mismatch");
    let delete = edge
        .send(&edge.token, "DELETE", &path, None, &[("if-match", "\"2\"")])
        .await;
    delete.expect(204);
}

#[tokio::test]
async fn two_changes_of_one_version_at_once_give_one_winner() {
    let edge = edge().await;
    let (id, _) = edge.user("bob@example.com", &[]).await;
    let path = format!("/v1/users/{id}");
    let change = async |name: &str| {
        let body = Some(json!({"first_name": name}));
        edge.send(&edge.token, "PATCH", &path, body, &[("if-match", "\"1\"")])
            .await
    };
    let (a, b) = tokio::join!(change("A"), change("B"));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn the_last_administrator_can_be_neither_removed_nor_demoted() {
    let edge = edge().await;
    let me = edge.me(&edge.token).await.expect(200);
    let path = format!("/v1/users/{}", me["user"]["id"].as_str().unwrap());
    edge.delete(&path).await.refused(409, "last_administrator");
    edge.patch(&path, json!({"roles": ["accountant"]}))
        .await
        .refused(409, "last_administrator");
    edge.me(&edge.token).await.expect(200);

    edge.user("bob@example.com", &["administrator"]).await;
    edge.patch(&path, json!({"roles": ["accountant"]}))
        .await
        .expect(200);
    let me = edge.me(&edge.token).await.expect(200);
    assert_eq!(
        me["roles"],
        json!(["accountant"]),
        "the change took effect at once"
    );
}

#[tokio::test]
async fn two_administrators_who_remove_each_other_at_once_do_not_both_succeed() {
    let edge = edge().await;
    let me = edge.me(&edge.token).await.expect(200);
    let (bob, bobs_token) = edge.user("bob@example.com", &["administrator"]).await;
    let first = format!("/v1/users/{}", me["user"]["id"].as_str().unwrap());
    let second = format!("/v1/users/{bob}");
    let (a, b) = tokio::join!(
        edge.delete(&second),
        edge.send(&bobs_token, "DELETE", &first, None, &[])
    );
    let removed = [&a, &b]
        .iter()
        .filter(|answer| answer.status == 204)
        .count();
    assert_eq!(removed, 1, "{} and {}", a.text, b.text);
}

#[tokio::test]
async fn a_change_of_roles_takes_effect_at_once() {
    let edge = edge().await;
    let (id, token) = edge.user("bob@example.com", &["accountant"]).await;
    edge.send(&token, "GET", "/v1/users", None, &[])
        .await
        .refused(403, "forbidden");
    edge.patch(
        &format!("/v1/users/{id}"),
        json!({"roles": ["administrator"]}),
    )
    .await
    .expect(200);
    edge.send(&token, "GET", "/v1/users", None, &[])
        .await
        .expect(200);
    edge.delete(&format!("/v1/users/{id}")).await.expect(204);
    edge.me(&token).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_new_password_ends_the_users_sessions() {
    let edge = edge().await;
    let (id, token) = edge.user("bob@example.com", &["accountant"]).await;
    edge.me(&token).await.expect(200);
    let body = json!({"password": "another horse battery"});
    edge.patch(&format!("/v1/users/{id}"), body)
        .await
        .expect(200);
    edge.me(&token).await.refused(401, "unauthenticated");
    edge.login("bob@example.com", PASSWORD)
        .await
        .refused(401, "unauthenticated");
    edge.login("bob@example.com", "another horse battery")
        .await
        .expect(200);
}

#[tokio::test]
async fn another_organizations_users_are_not_there() {
    let edge = edge().await;
    let stranger = edge.stranger().await;
    let me = edge.me(&edge.token).await.expect(200);
    let path = format!("/v1/users/{}", me["user"]["id"].as_str().unwrap());
    for (method, body) in [
        ("GET", None),
        ("PATCH", Some(json!({"first_name": "x"}))),
        ("DELETE", None),
    ] {
        edge.send(&stranger, method, &path, body, &[])
            .await
            .refused(404, "not_found");
    }
    let theirs = edge
        .send(&stranger, "GET", "/v1/users", None, &[])
        .await
        .expect(200);
    assert_eq!(theirs["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_keyed_create_gives_the_same_user_again() {
    let edge = edge().await;
    let key = [("idempotency-key", "k1")];
    let create = async |email: &str| {
        let body = Some(user_body(email, &[]));
        edge.send(&edge.token, "POST", "/v1/users", body, &key)
            .await
    };
    let first = create("bob@example.com").await;
    let again = create("bob@example.com").await;
    assert_eq!(again.expect(201), first.expect(201));
    assert_eq!(again.header("idempotency-replayed"), "true");
    create("other@example.com")
        .await
        .refused(422, "idempotency_key_reused");
}
