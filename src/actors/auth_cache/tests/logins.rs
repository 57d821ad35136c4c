//! Logins: wrong ones, many at once, and those of the web.

use super::*;

#[tokio::test]
async fn after_ten_wrong_passwords_even_the_right_one_waits_a_quarter_of_an_hour() {
    let node = node().await;
    for _ in 0..10 {
        let error = node
            .auth
            .login(EMAIL, "wrong horse battery")
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error, AuthError::Unauthenticated { .. }),
            "{error}"
        );
    }
    let error = node.auth.login(EMAIL, PASSWORD).await.err().unwrap();
    assert_eq!(retry_after_s(&error), Some(900));
    node.later_s(900);
    node.access_token().await;
}

#[tokio::test]
async fn a_login_storm_is_throttled_and_known_callers_go_on() {
    let node = node_with(|config| {
        config.pools.auth_workers = 1;
        config.pools.auth_queue = 2;
    })
    .await;
    let token = node.access_token().await;
    let storm: Vec<_> = (0..40)
        .map(|n| {
            let auth = node.auth.clone();
            tokio::spawn(async move { auth.login(&format!("eve{n}@example.com"), "x").await })
        })
        .collect();
    let mut throttled = 0;
    for login in storm {
        node.caller(&token).await;
        let error = login.await.unwrap().err().unwrap();
        throttled += u32::from(retry_after_s(&error).is_some_and(|wait| (1..=4).contains(&wait)));
    }
    assert!(
        (30..=39).contains(&throttled),
        "{throttled} of 40 were throttled"
    );
    node.access_token().await;
}

#[tokio::test]
async fn a_panic_in_a_worker_costs_that_one_request() {
    let node = node_with(|config| config.pools.auth_workers = 1).await;
    let crashed = node.auth.run(PasswordTask::Panic).await;
    assert!(matches!(crashed, Err(AuthError::Crashed)));
    node.access_token().await;
}

#[tokio::test]
async fn a_basic_login_gives_a_day_and_can_be_revoked() {
    let node = node().await;
    let token = node.auth.login_basic(EMAIL, PASSWORD).await.unwrap();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Claims>(&token)
        .unwrap()
        .claims;
    assert_eq!(
        (claims.username.as_deref(), claims.admin),
        (Some(EMAIL), Some(true))
    );
    assert_eq!(
        (claims.iat, claims.exp),
        (START.as_second(), START.as_second() + 86_400)
    );

    node.later_s(86_399);
    let caller = node.caller(&token).await;
    node.auth
        .revoke_session(node.user.id, caller.session.unwrap())
        .await
        .unwrap();
    node.refused(&token).await;
    let token = node.auth.login_basic(EMAIL, PASSWORD).await.unwrap();
    node.later_s(86_400);
    node.refused(&token).await;
}
