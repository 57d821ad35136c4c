//! Every route asks for its permission, and nobody gives away more than they hold.

use faktor::domain::permission::Permission;
use serde_json::{Value, json};

use super::edge::{Edge, PASSWORD, edge, user_body};

/// Every route of identity with the permission it asks for.
fn matrix() -> Vec<(&'static str, &'static str, Option<Value>, &'static str)> {
    let some = || Some(json!({}));
    vec![
        ("GET", "/v1/users", None, "user.get_all"),
        ("POST", "/v1/users", some(), "user.create"),
        ("GET", "/v1/users/{user}", None, "user.get_by_id"),
        ("PATCH", "/v1/users/{user}", some(), "user.update"),
        ("DELETE", "/v1/users/{user}", None, "user.delete"),
        ("GET", "/v1/roles", None, "role.get_all"),
        ("POST", "/v1/roles", some(), "role.create"),
        ("GET", "/v1/roles/accountant", None, "role.get_by_id"),
        ("PATCH", "/v1/roles/accountant", some(), "role.update"),
        ("DELETE", "/v1/roles/accountant", None, "role.delete"),
        ("GET", "/v1/api_keys", None, "user.update"),
        ("POST", "/v1/api_keys", some(), "user.update"),
        ("GET", "/v1/api_keys/{key}", None, "user.update"),
        ("DELETE", "/v1/api_keys/{key}", None, "user.update"),
    ]
}

#[tokio::test]
async fn every_route_asks_for_exactly_its_permission() {
    let edge = edge().await;
    for (n, (method, path, body, permission)) in matrix().into_iter().enumerate() {
        let all_but: Vec<_> = Permission::ALL
            .iter()
            .map(|p| p.name())
            .filter(|name| *name != permission)
            .collect();
        let (without, only) = (format!("without{n}"), format!("only{n}"));
        edge.role(&without, &all_but).await;
        edge.role(&only, &[permission]).await;
        let (id, without) = edge.api_key(&[&without]).await;
        let (_, only) = edge.api_key(&[&only]).await;
        let user = "usr_00000000000000000000000000000001";
        let path = path.replace("{user}", user).replace("{key}", &id);

        let refused = edge.send(&without, method, &path, body.clone(), &[]).await;
        let problem = refused.refused(403, "forbidden");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(permission), "{method} {path}: {detail}");
        let allowed = edge.send(&only, method, &path, body.clone(), &[]).await;
        let lacks = allowed.text.contains("this needs the permission");
        assert!(
            !lacks && allowed.status != 401,
            "{method} {path}: {}",
            allowed.text
        );
        edge.send("", method, &path, body, &[])
            .await
            .refused(401, "unauthenticated");
    }
}

/// May manage users and roles, but may not delete invoices.
async fn manager(edge: &Edge) -> String {
    let permissions = [
        "user.create",
        "user.update",
        "user.delete",
        "user.get_by_id",
        "role.create",
        "role.update",
        "role.delete",
        "role.get_by_id",
        "invoice.get_all",
    ];
    edge.role("manager", &permissions).await;
    edge.user("mia@example.com", &["manager"]).await.1
}

#[tokio::test]
async fn nobody_gives_away_more_than_they_hold() {
    let edge = edge().await;
    let mia = manager(&edge).await;
    edge.role("eraser", &["invoice.delete"]).await;
    let key = json!({"name": "n", "roles": ["eraser"]});
    let role = json!({"name": "mine", "permissions": ["invoice.delete"]});
    let own_role = json!({"permissions": ["invoice.delete"]});
    for (method, path, body) in [
        (
            "POST",
            "/v1/users",
            user_body("x@example.com", &["administrator"]),
        ),
        ("POST", "/v1/users", user_body("x@example.com", &["eraser"])),
        ("POST", "/v1/api_keys", key),
        ("POST", "/v1/roles", role),
        ("PATCH", "/v1/roles/manager", own_role),
    ] {
        let problem = edge
            .send(&mia, method, path, Some(body), &[])
            .await
            .refused(403, "forbidden");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("invoice.delete"),
            "{problem}"
        );
    }
    let fine = user_body("x@example.com", &["manager"]);
    edge.send(&mia, "POST", "/v1/users", Some(fine), &[])
        .await
        .expect(201);
    let fine = json!({"name": "mine", "permissions": ["invoice.get_all"]});
    edge.send(&mia, "POST", "/v1/roles", Some(fine), &[])
        .await
        .expect(201);
}

#[tokio::test]
async fn nobody_takes_over_or_removes_who_may_do_more() {
    let edge = edge().await;
    let mia = manager(&edge).await;
    let me = edge.me(&edge.token).await.expect(200);
    let administrator = format!("/v1/users/{}", me["user"]["id"].as_str().unwrap());
    for body in [
        json!({"password": "mine now, all of it"}),
        json!({"email": "mia2@example.com"}),
        json!({"roles": []}),
    ] {
        let answer = edge
            .send(&mia, "PATCH", &administrator, Some(body), &[])
            .await;
        answer.refused(403, "forbidden");
    }
    edge.send(&mia, "DELETE", &administrator, None, &[])
        .await
        .refused(403, "forbidden");
    let (key, secret) = edge.api_key(&["administrator"]).await;
    let path = format!("/v1/api_keys/{key}");
    edge.send(&mia, "DELETE", &path, None, &[])
        .await
        .refused(403, "forbidden");
    edge.me(&secret).await.expect(200);
    edge.role("eraser", &["invoice.delete"]).await;
    let body = Some(json!({"permissions": []}));
    edge.send(&mia, "PATCH", "/v1/roles/eraser", body, &[])
        .await
        .refused(403, "forbidden");
    edge.send(&mia, "DELETE", "/v1/roles/eraser", None, &[])
        .await
        .refused(403, "forbidden");
    edge.login(super::edge::EMAIL, PASSWORD).await.expect(200);
}
