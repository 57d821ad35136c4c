//! Tokens and keys, as long as they are good and not longer.

use super::*;

#[tokio::test]
async fn a_login_gives_a_token_that_says_who_calls() {
    let node = node().await;
    let tokens = node
        .auth
        .login(" ADA@example.com ", PASSWORD)
        .await
        .unwrap();
    assert_eq!(tokens.expires_in_s, 900);
    let caller = node.caller(&tokens.access_token).await;
    assert_eq!(caller.user, Some(node.user.id));
    assert_eq!(caller.organization, node.user.organization);
    assert_eq!(caller.initiator, Initiator::User(node.user.id));
    assert_eq!(caller.permissions, Permissions::all());
    assert!(
        Arc::ptr_eq(&caller, &node.caller(&tokens.access_token).await),
        "from the cache"
    );
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_are_answered_alike() {
    let node = node().await;
    let unknown = node
        .auth
        .login("eve@example.com", PASSWORD)
        .await
        .err()
        .unwrap();
    let wrong = node
        .auth
        .login(EMAIL, "wrong horse battery")
        .await
        .err()
        .unwrap();
    assert!(
        matches!(wrong, AuthError::Unauthenticated { .. }),
        "{wrong}"
    );
    assert_eq!(unknown.to_string(), wrong.to_string());
}

#[tokio::test]
async fn envoice_defect_the_cached_token_ignores_expiry_and_revocation() {
    let node = node().await;
    let token = node.access_token().await;
    node.later_s(899);
    node.caller(&token).await;
    node.later_s(1);
    assert_eq!(node.refused(&token).await, "the access token has expired");

    let token = node.access_token().await;
    let caller = node.caller(&token).await;
    node.auth
        .revoke_session(node.user.id, caller.session.unwrap())
        .await
        .unwrap();
    assert_eq!(node.refused(&token).await, "the session has ended");
}

#[tokio::test]
async fn what_another_process_revokes_ends_here_within_the_cache_time() {
    let node = node().await;
    let neighbour = node.neighbour(|_| {}).await;
    let token = node.access_token().await;
    let caller = node.caller(&token).await;
    neighbour
        .revoke_session(node.user.id, caller.session.unwrap())
        .await
        .unwrap();
    node.caller(&token).await;
    node.later_s(5);
    assert_eq!(node.refused(&token).await, "the session has ended");
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_second_use_ends_the_chain() {
    let node = node().await;
    let first = node.auth.login(EMAIL, PASSWORD).await.unwrap();
    let second = node.auth.refresh(&first.refresh_token).await.unwrap();
    node.caller(&first.access_token).await;
    node.caller(&second.access_token).await;

    assert!(node.auth.refresh(&first.refresh_token).await.is_err());
    assert!(
        node.auth.refresh(&second.refresh_token).await.is_err(),
        "the chain has ended"
    );
    assert_eq!(
        node.refused(&first.access_token).await,
        "the session has ended"
    );
    assert_eq!(
        node.refused(&second.access_token).await,
        "the session has ended"
    );
    assert!(node.auth.refresh("never issued").await.is_err());
}

#[tokio::test]
async fn a_refresh_token_expires_with_its_session_and_so_do_its_access_tokens() {
    let node = node_with(|config| config.auth.refresh_token_ttl_s = 1_000).await;
    let tokens = node.auth.login(EMAIL, PASSWORD).await.unwrap();
    node.later_s(900);
    let tokens = node.auth.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(tokens.expires_in_s, 100, "no longer than the session");
    node.later_s(100);
    assert_eq!(
        node.refused(&tokens.access_token).await,
        "the access token has expired"
    );
    assert!(node.auth.refresh(&tokens.refresh_token).await.is_err());
}

#[tokio::test]
async fn a_change_of_roles_takes_effect_at_once() {
    let node = node().await;
    node.add_administrator().await;
    let token = node.access_token().await;
    assert!(
        node.caller(&token)
            .await
            .permissions
            .contains(Permission::UserDelete)
    );
    node.change_user(|user| user.roles = vec!["viewer".to_owned()])
        .await;
    node.auth.forget_user(node.user.id).await;
    assert_eq!(node.caller(&token).await.permissions, Permissions::NONE);

    let role = Role {
        organization: node.user.organization,
        name: "viewer".to_owned(),
        permissions: [Permission::InvoiceGetAll].into_iter().collect(),
        version: 1,
        created_at: START,
        updated_at: START,
    };
    node.stores.identity.insert_role(&role).await.unwrap();
    node.auth.forget_roles_of(node.user.organization).await;
    let held: Vec<_> = node.caller(&token).await.permissions.iter().collect();
    assert_eq!(held, [Permission::InvoiceGetAll]);
}

#[tokio::test]
async fn a_deleted_user_is_out_at_once() {
    let node = node().await;
    node.add_administrator().await;
    let tokens = node.auth.login(EMAIL, PASSWORD).await.unwrap();
    node.caller(&tokens.access_token).await;
    node.stores
        .identity
        .delete_user(node.user.organization, node.user.id)
        .await
        .unwrap();
    node.auth.revoke_sessions_of(node.user.id).await.unwrap();
    node.refused(&tokens.access_token).await;
    assert!(node.auth.refresh(&tokens.refresh_token).await.is_err());
}

#[tokio::test]
async fn a_password_changed_while_it_is_checked_opens_no_session() {
    let node = node().await;
    let (before, now) = node.auth.check_login(EMAIL, PASSWORD).await.unwrap();
    accounts::set_password(&node.stores, &node.clock, EMAIL, "another horse battery")
        .await
        .unwrap();
    let opened = node
        .auth
        .open_session(&before, "refresh", now, Timestamp::MAX)
        .await;
    assert!(matches!(opened, Err(AuthError::Unauthenticated { .. })));
    assert!(
        node.auth.refresh("refresh").await.is_err(),
        "what was written is revoked"
    );
}

#[tokio::test]
async fn an_api_key_works_until_it_is_revoked() {
    let node = node().await;
    let secret = AuthHandle::new_api_key_secret();
    let key = ApiKey {
        id: ApiKeyId::new(clock::new_uuid()),
        organization: node.user.organization,
        name: "shop".to_owned(),
        roles: vec![roles::ACCOUNTANT.to_owned()],
        secret_hash: secret.hash.clone(),
        prefix: secret.prefix.clone(),
        created_at: START,
        last_used_at: None,
        revoked_at: None,
    };
    node.stores.identity.insert_api_key(&key).await.unwrap();
    assert_eq!(secret.secret.len(), 3 + 64);
    assert!(secret.secret.starts_with(&secret.prefix) && secret.prefix.len() == 11);

    let caller = node.caller(&secret.secret).await;
    assert_eq!(caller.initiator, Initiator::ApiKey(key.id));
    assert_eq!((caller.user, caller.session), (None, None));
    assert_eq!(caller.permissions, Permissions::accountant());

    node.stores
        .identity
        .revoke_api_key(key.organization, key.id, START)
        .await
        .unwrap();
    node.auth.forget_api_keys().await;
    assert_eq!(node.refused(&secret.secret).await, "the API key is revoked");
    node.refused("fk_0000").await;
    node.refused(&secret.hash).await;
}

#[tokio::test]
async fn tokens_survive_a_restart_and_the_rotation_of_keys() {
    let short = |config: &mut Config| config.auth.signing_key_rotation_s = 600;
    let node = node_with(short).await;
    let first = node.access_token().await;
    node.later_s(700);
    let second = node.access_token().await;
    let key_id = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    assert_ne!(key_id(&first), key_id(&second), "the key was rotated");
    node.caller(&first).await;
    node.caller(&second).await;

    let restarted = node.neighbour(short).await;
    restarted.authenticate(&first).await.unwrap();
    restarted.authenticate(&second).await.unwrap();
    let keys = node.stores.identity.signing_keys().await.unwrap();
    assert_eq!(
        keys.iter().filter(|key| key.retired_at.is_none()).count(),
        1
    );
}

#[tokio::test]
async fn a_key_made_by_another_process_is_found() {
    let short = |config: &mut Config| config.auth.signing_key_rotation_s = 600;
    let node = node_with(short).await;
    let neighbour = node.neighbour(short).await;
    node.later_s(700);
    let token = neighbour.login(EMAIL, PASSWORD).await.unwrap().access_token;
    node.caller(&token).await;
}

#[tokio::test]
async fn a_forged_token_is_refused_whatever_algorithm_it_names() {
    let node = node().await;
    let good = node.access_token().await;
    let session = node.caller(&good).await.session.unwrap();
    let keys = node.stores.identity.signing_keys().await.unwrap();
    let user = &node.user;
    let claims = Claims::new(user.id, user.organization, session, START, Timestamp::MAX);

    // The public key as the secret of an HMAC, and another key's signature under our key's id.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(keys[0].id.clone());
    let confused = EncodingKey::from_secret(&keys[0].public_der);
    let forged = jsonwebtoken::encode(&header, &claims, &confused).unwrap();
    assert_eq!(
        node.refused(&forged).await,
        "not a valid access token or API key"
    );
    let stranger = self::node().await;
    let strange_key = &stranger.stores.identity.signing_keys().await.unwrap()[0];
    header.alg = Algorithm::EdDSA;
    let strange = EncodingKey::from_ed_der(&strange_key.private_der);
    node.refused(&jsonwebtoken::encode(&header, &claims, &strange).unwrap())
        .await;

    // No signature, another payload under a good signature, garbage.
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let (_, forged_rest) = forged.split_once('.').unwrap();
    let (other_payload, _) = forged_rest.split_once('.').unwrap();
    let unsigned = "eyJhbGciOiJub25lIn0";
    for bad in [
        format!("{unsigned}.{payload}."),
        format!("{head}.{payload}."),
        format!("{head}.{other_payload}.{signature}"),
        String::new(),
        "a.b.c".to_owned(),
    ] {
        node.refused(&bad).await;
    }
    // The token of an installation that shares nothing but the format.
    node.refused(&stranger.access_token().await).await;
}
