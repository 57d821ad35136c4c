//! The handle as a whole, on a real store.

mod logins;
mod tokens;
mod users;

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
