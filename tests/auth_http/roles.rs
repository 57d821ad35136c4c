//! `/v1/roles`.

use serde_json::json;

use super::edge::edge;

#[tokio::test]
async fn the_built_in_roles_are_listed_and_can_not_be_changed() {
    let edge = edge().await;
    let roles = edge.get("/v1/roles").await.expect(200);
    let names: Vec<_> = roles["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["administrator", "accountant"]);
    for name in names {
        let path = format!("/v1/roles/{name}");
        assert_eq!(edge.get(&path).await.expect(200)["built_in"], true);
        edge.patch(&path, json!({"permissions": []}))
            .await
            .refused(409, "role_built_in");
        edge.delete(&path).await.refused(409, "role_built_in");
        let body = json!({"name": name, "permissions": []});
        edge.post("/v1/roles", body).await.refused(422, "built_in");
    }
    let accountant = edge.get("/v1/roles/accountant").await.expect(200);
    assert_eq!(
        accountant["permissions"],
        json!([
            "invoice.create",
            "invoice.get_by_id",
            "invoice.get_all",
            "invoice.update",
            "invoice.delete",
            "invoice.send",
            "product.get_by_id",
            "product.get_all",
            "user.get_by_id",
            "role.get_by_id"
        ])
    );
}

#[tokio::test]
async fn a_role_is_made_read_changed_and_removed() {
    let edge = edge().await;
    let body = json!({"name": "reader", "permissions": ["invoice.get_all"]});
    let role = edge.post("/v1/roles", body.clone()).await.expect(201);
    assert_eq!(
        (role["version"].as_u64(), &role["built_in"]),
        (Some(1), &json!(false))
    );
    edge.post("/v1/roles", body)
        .await
        .refused(409, "name_taken");

    let read = edge.get("/v1/roles/reader").await;
    assert_eq!(read.expect(200), role);
    assert_eq!(read.header("etag"), "\"1\"");
    let change = json!({"permissions": ["invoice.get_by_id", "invoice.get_all"]});
    let stale = [("if-match", "\"7\"")];
    let body = Some(change.clone());
    let answer = edge
        .send(&edge.token, "PATCH", "/v1/roles/reader", body, &stale)
        .await;
    answer.refused(412, "version_mismatch");
    let changed = edge
        .patch("/v1/roles/reader", change.clone())
        .await
        .expect(200);
    assert_eq!(changed["permissions"], change["permissions"]);
    assert_eq!(changed["version"], 2);
    edge.delete("/v1/roles/reader").await.expect(204);
    edge.get("/v1/roles/reader").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_changed_role_takes_effect_at_once_for_users_and_keys() {
    let edge = edge().await;
    edge.role("reader", &[]).await;
    let (_, user) = edge.user("bob@example.com", &["reader"]).await;
    let (_, key) = edge.api_key(&["reader"]).await;
    for token in [&user, &key] {
        edge.send(token, "GET", "/v1/roles", None, &[])
            .await
            .refused(403, "forbidden");
    }
    edge.patch("/v1/roles/reader", json!({"permissions": ["role.get_all"]}))
        .await
        .expect(200);
    for token in [&user, &key] {
        edge.send(token, "GET", "/v1/roles", None, &[])
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_role_somebody_holds_can_not_be_removed() {
    let edge = edge().await;
    edge.role("reader", &["role.get_all"]).await;
    let (user, _) = edge.user("bob@example.com", &["reader"]).await;
    edge.delete("/v1/roles/reader")
        .await
        .refused(409, "role_in_use");
    edge.delete(&format!("/v1/users/{user}")).await.expect(204);
    let (key, _) = edge.api_key(&["reader"]).await;
    edge.delete("/v1/roles/reader")
        .await
        .refused(409, "role_in_use");
    edge.delete(&format!("/v1/api_keys/{key}"))
        .await
        .expect(204);
    edge.delete("/v1/roles/reader").await.expect(204);
}

#[tokio::test]
async fn a_role_has_a_plain_name_and_known_permissions() {
    let edge = edge().await;
    for (name, is_good) in [
        ("a", true),
        (&*"a".repeat(50), true),
        ("a-b_9", true),
        ("", false),
        (&*"a".repeat(51), false),
        ("Reader", false),
        ("9a", false),
        ("a b", false),
        ("a/b", false),
    ] {
        let answer = edge
            .post("/v1/roles", json!({"name": name, "permissions": []}))
            .await;
        if is_good {
            answer.expect(201);
        } else {
            answer.refused(422, "invalid_name");
        }
    }
    let body = json!({"name": "x", "permissions": ["invoice.get_all", "invoice.read"]});
    let problem = edge
        .post("/v1/roles", body)
        .await
        .refused(422, "unknown_permission");
    assert_eq!(problem["param"], "permissions[1]");
}

#[tokio::test]
async fn an_organization_has_at_most_a_hundred_roles_and_lists_them_in_parts() {
    let edge = edge().await;
    for n in 0..100 {
        edge.role(&format!("r{n}"), &[]).await;
    }
    let body = json!({"name": "one_more", "permissions": []});
    edge.post("/v1/roles", body)
        .await
        .refused(409, "too_many_roles");

    let first = edge.get("/v1/roles?limit=100").await.expect(200);
    assert_eq!(
        (first["data"].as_array().unwrap().len(), &first["has_more"]),
        (100, &json!(true))
    );
    let next = first["next"].as_str().unwrap();
    let rest = edge
        .get(&format!("/v1/roles?limit=100&starting_after={next}"))
        .await
        .expect(200);
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["has_more"]),
        (2, &json!(false))
    );
}

#[tokio::test]
async fn another_organizations_roles_are_not_there() {
    let edge = edge().await;
    edge.role("reader", &["invoice.get_all"]).await;
    let stranger = edge.stranger().await;
    edge.send(&stranger, "GET", "/v1/roles/reader", None, &[])
        .await
        .refused(404, "not_found");
    edge.send(&stranger, "DELETE", "/v1/roles/reader", None, &[])
        .await
        .refused(404, "not_found");
    let body = json!({"name": "shop", "roles": ["reader"]});
    let answer = edge
        .send(&stranger, "POST", "/v1/api_keys", Some(body), &[])
        .await;
    answer.refused(422, "unknown_role");
}
