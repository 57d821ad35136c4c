//! Checked callers and their revocation, over two nodes.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use faktor::actors::auth_cache::AuthHandle;
use faktor::clock;
use faktor::domain::ids::{ApiKeyId, UserId};
use faktor::domain::permission::{Permission, Permissions};
use faktor::store::cache::{Digest, Scope, SharedCache};
use faktor::store::{ApiKey, Role};
use fred::interfaces::LuaInterface;
use uuid::Uuid;

use crate::nodes::{
    EMAIL, Installation, PASSWORD, START, caller, everything_under, is_refused, login, raw, until,
};
use crate::support::fault_proxy::Fault;

/// Far less than half of `auth.cache_ttl_s`, after which a node would look again by itself.
const AT_ONCE: Duration = Duration::from_secs(1);
const LIFE: Duration = Duration::from_secs(5);

fn sha256(text: &str) -> Digest {
    use sha2::Digest as _;
    sha2::Sha256::digest(text.as_bytes()).into()
}

#[tokio::test]
async fn a_session_ended_at_one_node_is_refused_at_the_other_at_once() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let (one, other) = (installation.node().await, installation.node().await);
    let token = login(&one).await;
    let session = caller(&other, &token).await.session.unwrap();

    one.revoke_session(installation.user.id, session)
        .await
        .unwrap();
    assert!(is_refused(&one, &token).await);
    let took = until("refused", || is_refused(&other, &token)).await;
    assert!(took < AT_ONCE, "{took:?}");
    eprintln!("refused at the other node after {took:?}");
}

#[tokio::test]
async fn a_change_of_roles_at_one_node_counts_at_the_other_at_once() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    installation.add_administrator().await;
    let (one, other) = (installation.node().await, installation.node().await);
    let token = login(&one).await;
    assert!(
        caller(&other, &token)
            .await
            .permissions
            .contains(Permission::UserDelete)
    );

    installation.set_roles(&["viewer"]).await;
    one.forget_user(installation.user.id).await;
    let permissions = async || caller(&other, &token).await.permissions;
    let took = until("without the role", async || {
        permissions().await == Permissions::NONE
    })
    .await;
    assert!(took < AT_ONCE, "{took:?}");

    let viewer = Role {
        organization: installation.user.organization,
        name: "viewer".to_owned(),
        permissions: [Permission::InvoiceGetAll].into_iter().collect(),
        version: 1,
        created_at: START,
        updated_at: START,
    };
    installation
        .stores
        .identity
        .insert_role(&viewer)
        .await
        .unwrap();
    one.forget_roles_of(installation.user.organization).await;
    let took = until("with the new role", async || {
        permissions().await == viewer.permissions
    })
    .await;
    assert!(took < AT_ONCE, "{took:?}");
}

#[tokio::test]
async fn an_api_key_revoked_at_one_node_is_refused_at_the_other_at_once() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let (one, other) = (installation.node().await, installation.node().await);
    let secret = AuthHandle::new_api_key_secret();
    let key = ApiKey {
        id: ApiKeyId::new(clock::new_uuid()),
        organization: installation.user.organization,
        name: "shop".to_owned(),
        roles: vec!["accountant".to_owned()],
        secret_hash: secret.hash.clone(),
        prefix: secret.prefix.clone(),
        created_at: START,
        last_used_at: None,
        revoked_at: None,
    };
    let identity = &installation.stores.identity;
    identity.insert_api_key(&key).await.unwrap();
    let here = caller(&one, &secret.secret).await;
    assert_eq!(here, caller(&other, &secret.secret).await);

    identity
        .revoke_api_key(key.organization, key.id, START)
        .await
        .unwrap();
    one.forget_api_keys().await;
    let took = until("refused", || is_refused(&other, &secret.secret)).await;
    assert!(took < AT_ONCE, "{took:?}");
}

#[tokio::test]
async fn what_one_node_looked_up_another_takes_from_redis_until_it_is_too_old() {
    let Some(installation) = Installation::with(|config| config.auth.cache_ttl_s = 2).await else {
        return;
    };
    installation.add_administrator().await;
    let (one, other) = (installation.node().await, installation.node().await);
    let token = login(&one).await;
    // Nobody is told, so that the store's answer differs from Redis's.
    installation.set_roles(&["nothing"]).await;
    assert_eq!(
        caller(&other, &token).await.permissions,
        Permissions::all(),
        "from Redis"
    );

    let third = installation.node().await;
    let took = until("from the store", async || {
        installation.clock.advance_ms(5);
        caller(&third, &token).await.permissions == Permissions::NONE
    })
    .await;
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_token_is_checked_by_its_signature_and_expiry_whatever_redis_says() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let (one, other) = (installation.node().await, installation.node().await);
    let token = login(&one).await;
    installation.clock.advance_ms(900_000);
    assert!(is_refused(&other, &token).await, "expired");
}

#[tokio::test]
async fn what_was_read_before_a_revocation_and_written_after_it_is_not_believed() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let (reader, revoker) = (
        installation.cache(&installation.url).await,
        installation.cache(&installation.url).await,
    );
    let (bearer, other) = (sha256("a"), sha256("b"));
    let user = Scope::User(UserId::new(Uuid::from_u128(1)));
    let stranger = Scope::User(UserId::new(Uuid::from_u128(2)));
    let body = || Bytes::from_static(b"caller");
    let begin = async |bearer: &Digest, scope| {
        let recalled = reader
            .recall(bearer, &[scope, Scope::ApiKeys])
            .await
            .unwrap();
        assert!(recalled.kept.is_none());
        recalled.reading
    };
    let (late, untouched) = (begin(&bearer, user).await, begin(&other, stranger).await);
    revoker.revoke(&[user]).await;
    reader.keep(late, body(), LIFE).await;
    reader.keep(untouched, body(), LIFE).await;
    begin(&bearer, user).await;
    let known = reader
        .recall(&other, &[stranger, Scope::ApiKeys])
        .await
        .unwrap();
    let kept = known
        .kept
        .expect("another user's revocation changes nothing");
    assert_eq!(kept.body, body());
    assert!(kept.left <= LIFE);

    // The counter of revocations itself is lost, as by eviction: nothing that stood on it counts.
    forget_keys(&installation, "generation").await;
    begin(&other, stranger).await;
}

#[tokio::test]
async fn what_is_kept_late_ends_as_early_as_if_it_had_been_kept_in_time() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let cache = installation.cache(&installation.url).await;
    let bearer = sha256("a");
    let reading = cache
        .recall(&bearer, &[Scope::ApiKeys])
        .await
        .unwrap()
        .reading;
    tokio::time::sleep(Duration::from_millis(300)).await;
    cache
        .keep(
            reading,
            Bytes::from_static(b"caller"),
            Duration::from_secs(2),
        )
        .await;
    let recalled = cache.recall(&bearer, &[Scope::ApiKeys]).await.unwrap();
    let left = recalled.kept.unwrap().left;
    assert!(left <= Duration::from_millis(1_700), "{left:?}");

    tokio::time::sleep(Duration::from_millis(20)).await;
    let too_late = Duration::from_millis(10);
    cache
        .keep(recalled.reading, Bytes::from_static(b"caller"), too_late)
        .await;
    let left = cache
        .recall(&bearer, &[Scope::ApiKeys])
        .await
        .unwrap()
        .kept
        .unwrap()
        .left;
    assert!(left > too_late, "the older entry stands");
}

#[tokio::test]
async fn whoever_writes_to_redis_can_not_make_up_a_caller() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let node = installation.node().await;
    let token = login(&node).await;
    let mallory = installation.cache(&installation.url).await;
    let real = mallory
        .recall(
            &sha256(&token),
            &[
                Scope::User(installation.user.id),
                Scope::Organization(installation.user.organization),
            ],
        )
        .await
        .unwrap()
        .kept
        .expect("the login made it known");
    let text = String::from_utf8_lossy(&real.body).into_owned();
    let json = Bytes::from(text[text.find('{').unwrap()..].to_owned());
    for body in [real.body, json] {
        let bearer = "fk_forged";
        let recalled = mallory
            .recall(&sha256(bearer), &[Scope::ApiKeys])
            .await
            .unwrap();
        mallory.keep(recalled.reading, body, LIFE).await;
        assert!(is_refused(&node, bearer).await);
    }
}

#[tokio::test]
async fn redis_holds_no_secret_and_no_address_and_forgets_all_by_itself() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let node = installation.node().await;
    let tokens = node.login(EMAIL, PASSWORD).await.unwrap();
    node.login(EMAIL, "wrong horse battery")
        .await
        .err()
        .unwrap();
    cache_of(&installation)
        .await
        .admit("mail:example.com", 5)
        .await
        .unwrap()
        .unwrap();
    // A caller is remembered for seconds, and a busy machine may need them to come from there to here.
    let held = RefCell::new(String::new());
    until("all kinds of entries are in Redis", async || {
        node.authenticate(&tokens.access_token).await.unwrap();
        held.replace(everything_under(&installation.url, &installation.key_prefix).await);
        let kinds = ["bearer", "generation", "login", "rate"];
        let held = held.borrow();
        kinds
            .iter()
            .all(|kind| held.contains(&format!(":1:{kind}:")))
    })
    .await;
    let held = held.into_inner();
    for secret in [
        tokens.access_token.as_str(),
        tokens.access_token.rsplit('.').next().unwrap(),
        tokens.refresh_token.as_str(),
        PASSWORD,
        "example.com",
    ] {
        assert!(!held.contains(secret), "{held}");
    }
    assert!(
        !held.contains("ttl=-1"),
        "something would stay for ever: {held}"
    );
}

#[tokio::test]
async fn a_redis_that_was_started_anew_learns_the_scripts_again() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let cache = cache_of(&installation).await;
    cache.recall(&sha256("a"), &[Scope::ApiKeys]).await.unwrap();
    raw(&installation.url)
        .await
        .script_flush(false)
        .await
        .unwrap();
    cache.recall(&sha256("a"), &[Scope::ApiKeys]).await.unwrap();
}

#[tokio::test]
async fn revocations_missed_while_the_connection_was_cut_count_when_it_is_back() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let one = installation.node().await;
    let (other, proxy) = installation.fragile_node().await;
    let token = login(&one).await;
    let session = caller(&other, &token).await.session.unwrap();
    proxy.set(Fault::Refuse);
    one.revoke_session(installation.user.id, session)
        .await
        .unwrap();
    proxy.set(Fault::Pass);
    // The clock stands still: nothing runs out by itself.
    let took = until("refused", || is_refused(&other, &token)).await;
    eprintln!("refused at the other node {took:?} after the connection was let through");
}

async fn cache_of(installation: &Installation) -> SharedCache {
    installation.cache(&installation.url).await
}

async fn forget_keys(installation: &Installation, kind: &str) {
    let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end";
    let pattern = format!("{}:1:{kind}:*", installation.key_prefix);
    let client = raw(&installation.url).await;
    let _: () = client
        .eval(script, Vec::<String>::new(), vec![pattern])
        .await
        .unwrap();
}
