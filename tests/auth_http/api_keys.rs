//! `/v1/api_keys`.

use serde_json::json;

use super::edge::edge;

#[tokio::test]
async fn a_keys_secret_is_shown_once_and_works_until_it_is_revoked() {
    let edge = edge().await;
    let (id, secret) = edge.api_key(&["accountant"]).await;
    assert!(secret.starts_with("fk_") && secret.len() == 67);
    let me = edge.me(&secret).await.expect(200);
    assert_eq!(
        (&me["user"], &me["api_key"]["id"]),
        (&json!(null), &json!(id))
    );
    assert_eq!(me["roles"], json!(["accountant"]));

    let path = format!("/v1/api_keys/{id}");
    let read = edge.get(&path).await;
    let key = read.expect(200);
    assert_eq!(
        (key["prefix"].as_str().unwrap(), &key["revoked_at"]),
        (&secret[..11], &json!(null))
    );
    assert_eq!(key["last_used_at"], "2027-01-15T08:00:00.000Z");
    let listed = edge.get("/v1/api_keys").await;
    for answer in [&read, &listed] {
        assert!(!answer.text.contains(&secret) && !answer.text.contains("hash"));
    }

    edge.delete(&path).await.expect(204);
    let problem = edge.me(&secret).await.refused(401, "unauthenticated");
    assert_eq!(problem["detail"], "the API key is revoked");
    edge.delete(&path).await.expect(204);
    let key = edge.get(&path).await.expect(200);
    assert_eq!(key["revoked_at"], "2027-01-15T08:00:00.000Z");
}

#[tokio::test]
async fn a_repeated_keyed_create_does_not_show_the_secret_again() {
    let edge = edge().await;
    let create = async |name: &str| {
        let body = Some(json!({"name": name, "roles": ["accountant"]}));
        let key = [("idempotency-key", "k1")];
        edge.send(&edge.token, "POST", "/v1/api_keys", body, &key)
            .await
    };
    create("shop").await.expect(201);
    create("shop").await.refused(409, "secret_shown_once");
    create("other").await.refused(422, "idempotency_key_reused");
    let keys = edge.get("/v1/api_keys").await.expect(200);
    assert_eq!(keys["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_needs_a_name_and_a_role() {
    let edge = edge().await;
    for (body, code, param) in [
        (json!({"roles": ["accountant"]}), "required", "name"),
        (
            json!({"name": "n".repeat(201), "roles": ["accountant"]}),
            "too_long",
            "name",
        ),
        (json!({"name": "n"}), "required", "roles"),
        (json!({"name": "n", "roles": []}), "required", "roles"),
        (
            json!({"name": "n", "roles": ["boss"]}),
            "unknown_role",
            "roles[0]",
        ),
    ] {
        assert_eq!(
            edge.post("/v1/api_keys", body).await.refused(422, code)["param"],
            param
        );
    }
}

#[tokio::test]
async fn another_organizations_keys_are_not_there() {
    let edge = edge().await;
    let (id, secret) = edge.api_key(&["accountant"]).await;
    let stranger = edge.stranger().await;
    let path = format!("/v1/api_keys/{id}");
    edge.send(&stranger, "GET", &path, None, &[])
        .await
        .refused(404, "not_found");
    edge.send(&stranger, "DELETE", &path, None, &[])
        .await
        .refused(404, "not_found");
    edge.me(&secret).await.expect(200);
}
