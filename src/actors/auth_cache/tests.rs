//! The handle as a whole, on a real store.

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tempfile::TempDir;

use super::accounts::{self, AccountError, Person};
use super::password::PasswordTask;
use super::tokens::Claims;
use super::{AuthError, AuthHandle, Caller, roles};
use crate::clock::{self, Clock};
use crate::config::{Config, DEFAULTS};
use crate::domain::ids::ApiKeyId;
use crate::domain::invoice::command::Initiator;
use crate::domain::permission::{Permission, Permissions};
use crate::store::sql::{SqliteOptions, SqliteStore, StoreHandle};
use crate::store::{ApiKey, Role, Stores, User};

const START: Timestamp = Timestamp::constant(1_800_000_000, 0);
const PASSWORD: &str = "correct horse battery";
const EMAIL: &str = "ada@example.com";

/// Stands in for the root: its children may crash.
struct Supervisor;

impl Actor for Supervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        _: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

struct Node {
    auth: AuthHandle,
    clock: Clock,
    stores: Stores,
    user: User,
    supervisor: ActorRef<()>,
    _store: StoreHandle,
    _folder: TempDir,
}

/// A node with one organization and its administrator; its clock stands still.
async fn node_with(change: impl FnOnce(&mut Config)) -> Node {
    let mut config: Config = toml::from_str(DEFAULTS).unwrap();
    change(&mut config);
    let folder = tempfile::tempdir().unwrap();
    let (stores, store) = SqliteStore::open(folder.path(), SqliteOptions::default())
        .await
        .unwrap();
    let clock = Clock::manual(START);
    let (_, user) = accounts::found(stores.directory.as_ref(), START, "Ada GmbH", &ada())
        .await
        .unwrap();
    let (supervisor, _) = Actor::spawn(None, Supervisor, ()).await.unwrap();
    let auth = AuthHandle::start(&config, clock.clone(), &stores)
        .await
        .unwrap();
    auth.spawn(supervisor.get_cell()).await.unwrap();
    Node {
        auth,
        clock,
        stores,
        user,
        supervisor,
        _store: store,
        _folder: folder,
    }
}

async fn node() -> Node {
    node_with(|_| {}).await
}

fn ada() -> Person {
    Person {
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        email: EMAIL.to_owned(),
        password: PASSWORD.to_owned(),
    }
}

impl Node {
    async fn access_token(&self) -> String {
        self.auth.login(EMAIL, PASSWORD).await.unwrap().access_token
    }

    async fn refused(&self, bearer: &str) -> &'static str {
        match self.auth.authenticate(bearer).await {
            Err(AuthError::Unauthenticated { detail }) => detail,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    async fn caller(&self, bearer: &str) -> Arc<Caller> {
        self.auth.authenticate(bearer).await.unwrap()
    }

    fn later_s(&self, seconds: i64) {
        self.clock.advance_ms(seconds * 1_000);
    }

    /// Another process on the same store.
    async fn neighbour(&self, change: impl FnOnce(&mut Config)) -> AuthHandle {
        let mut config: Config = toml::from_str(DEFAULTS).unwrap();
        change(&mut config);
        let auth = AuthHandle::start(&config, self.clock.clone(), &self.stores)
            .await
            .unwrap();
        auth.spawn(self.supervisor.get_cell()).await.unwrap();
        auth
    }

    /// So that the first one may go.
    async fn add_administrator(&self) {
        let bob = Person {
            email: "bob@example.com".to_owned(),
            ..ada()
        };
        let roles = vec![roles::ADMINISTRATOR.to_owned()];
        let organization = self.user.organization;
        accounts::add_user(&self.stores, &self.clock, organization, &bob, roles)
            .await
            .unwrap();
    }

    async fn change_user(&self, change: impl FnOnce(&mut User)) {
        let mut user = self
            .stores
            .identity
            .user(self.user.id)
            .await
            .unwrap()
            .unwrap();
        change(&mut user);
        user.version += 1;
        self.stores.identity.update_user(&user).await.unwrap();
    }
}

fn retry_after_s(error: &AuthError) -> Option<u64> {
    match error {
        AuthError::Throttled { retry_after_s } => Some(*retry_after_s),
        _ => None,
    }
}

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

#[tokio::test]
async fn the_set_up_link_is_good_once_and_ends_when_there_is_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, _store) = SqliteStore::open(folder.path(), SqliteOptions::default())
        .await
        .unwrap();
    let config: Config = toml::from_str(DEFAULTS).unwrap();
    let auth = AuthHandle::start(&config, Clock::manual(START), &stores)
        .await
        .unwrap();
    let token = auth.open_setup().await.unwrap().unwrap();
    assert_eq!(
        auth.open_setup().await.unwrap().as_deref(),
        Some(token.as_str())
    );

    assert!(matches!(
        auth.set_up("", "A", &ada()).await,
        Err(AccountError::SetupClosed)
    ));
    let short = Person {
        password: "short".to_owned(),
        ..ada()
    };
    assert!(matches!(
        auth.set_up(&token, "A", &short).await,
        Err(AccountError::Invalid { .. })
    ));
    assert!(
        auth.setup_is_open(&token).await.unwrap(),
        "a mistake does not use the link up"
    );

    let person = ada();
    let (first, second) = tokio::join!(
        auth.set_up(&token, "A", &person),
        auth.set_up(&token, "B", &person)
    );
    assert!(first.is_ok() && matches!(second, Err(AccountError::SetupClosed)));
    assert!(!auth.setup_is_open(&token).await.unwrap());
    assert_eq!(auth.open_setup().await.unwrap(), None);
}

#[tokio::test]
async fn the_environment_makes_the_first_administrator_once_and_by_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, _store) = SqliteStore::open(folder.path(), SqliteOptions::default())
        .await
        .unwrap();
    let clock = Clock::manual(START);
    let found = async |email: Option<&str>, password: Option<&str>| {
        let (email, password) = (email.map(str::to_owned), password.map(str::to_owned));
        accounts::found_from_environment(&stores, &clock, |name| match name {
            accounts::ADMIN_EMAIL => email.clone(),
            accounts::ADMIN_PASSWORD => password.clone(),
            _ => None,
        })
        .await
    };
    assert!(found(None, None).await.unwrap().is_none());
    let sentence = |result: Result<_, AccountError>| result.err().map(|error| error.to_string());
    assert_eq!(
        sentence(found(Some(EMAIL), None).await).unwrap(),
        "FAKTOR_ADMIN_EMAIL is set but FAKTOR_ADMIN_PASSWORD is not; \
         set both to make the first administrator"
    );
    assert_eq!(
        sentence(found(Some("ada"), Some("short")).await).unwrap(),
        "FAKTOR_ADMIN_EMAIL: expected an address such as name@example.com; \
         FAKTOR_ADMIN_PASSWORD: at least 12 characters"
    );
    let user = found(Some(EMAIL), Some(PASSWORD)).await.unwrap().unwrap();
    assert_eq!(user.roles, [roles::ADMINISTRATOR]);
    assert!(
        found(Some("eve@example.com"), Some(PASSWORD))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn nodes_that_are_started_at_once_make_one_administrator_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, _store) = SqliteStore::open(folder.path(), SqliteOptions::default())
        .await
        .unwrap();
    let clock = Clock::manual(START);
    let start = || {
        accounts::found_from_environment(&stores, &clock, |name| match name {
            accounts::ADMIN_EMAIL => Some(EMAIL.to_owned()),
            accounts::ADMIN_PASSWORD => Some(PASSWORD.to_owned()),
            _ => None,
        })
    };
    let (one, other) = tokio::join!(start(), start());
    let made = [one.unwrap(), other.unwrap()];
    assert_eq!(made.iter().flatten().count(), 1);
}

#[tokio::test]
async fn the_command_line_adds_users_and_changes_passwords() {
    let node = node().await;
    let organization = accounts::organization_of(&node.stores, EMAIL)
        .await
        .unwrap();
    let bob = Person {
        email: "Bob@Example.com".to_owned(),
        ..ada()
    };
    let add = |person: Person, role: &str| {
        let roles = vec![role.to_owned()];
        let (stores, clock) = (node.stores.clone(), node.clock.clone());
        async move { accounts::add_user(&stores, &clock, organization, &person, roles).await }
    };
    let error = add(bob.clone(), "boss").await.err().unwrap();
    assert!(matches!(error, AccountError::NoSuchRole { .. }), "{error}");
    add(bob.clone(), "accountant").await.unwrap();
    assert!(matches!(
        add(bob, "accountant").await,
        Err(AccountError::EmailTaken)
    ));

    let tokens = node.auth.login("bob@example.com", PASSWORD).await.unwrap();
    let new = "another horse battery";
    accounts::set_password(&node.stores, &node.clock, "bob@example.com", new)
        .await
        .unwrap();
    assert!(node.auth.refresh(&tokens.refresh_token).await.is_err());
    assert!(node.auth.login("bob@example.com", PASSWORD).await.is_err());
    node.auth.login("bob@example.com", new).await.unwrap();
    let error = accounts::set_password(&node.stores, &node.clock, "eve@example.com", new).await;
    assert!(matches!(error, Err(AccountError::NoSuchUser)));
}
