//! Nodes over one store in one process, each with its own connection to Redis.

use std::future::Future;
use std::time::Duration;

use faktor::actors::auth_cache::accounts::{self, Person};
use faktor::actors::auth_cache::{AuthError, AuthHandle, Caller};
use faktor::clock::{self, Clock};
use faktor::config::{Config, DEFAULTS};
use faktor::store::cache::SharedCache;
use faktor::store::redis::{Redis, RedisOptions};
use faktor::store::sql::{SqliteOptions, SqliteStore, StoreHandle};
use faktor::store::{Stores, User};
use fred::clients::Client;
use fred::interfaces::{ClientLike, LuaInterface};
use jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::backends::backend;
use crate::support::fault_proxy::FaultProxy;

pub(crate) const START: Timestamp = Timestamp::constant(1_800_000_000, 0);
pub(crate) const EMAIL: &str = "ada@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const TIMEOUT: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

/// Stands in for the root.
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

/// One organization with its administrator, whose nodes share a store and a part of Redis.
pub(crate) struct Installation {
    pub(crate) stores: Stores,
    pub(crate) user: User,
    /// Stands still: what a node remembers runs out by nothing but a revocation.
    pub(crate) clock: Clock,
    pub(crate) url: String,
    pub(crate) key_prefix: String,
    pub(crate) config: Config,
    supervisor: ActorRef<()>,
    _store: StoreHandle,
    _folder: TempDir,
}

impl Installation {
    /// None when there is no Redis to test with.
    pub(crate) async fn new() -> Option<Self> {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Option<Self> {
        let url = backend("REDIS")?;
        let mut config: Config = toml::from_str(DEFAULTS).unwrap();
        change(&mut config);
        let folder = tempfile::tempdir().unwrap();
        let (stores, store) = SqliteStore::open(folder.path(), SqliteOptions::default())
            .await
            .unwrap();
        let ada = Person {
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            email: EMAIL.to_owned(),
            password: PASSWORD.to_owned(),
        };
        let founded = accounts::found(stores.directory.as_ref(), START, "Ada GmbH", &ada).await;
        let (supervisor, _) = Actor::spawn(None, Supervisor, ()).await.unwrap();
        Some(Self {
            stores,
            user: founded.unwrap().1,
            clock: Clock::manual(START),
            url,
            key_prefix: unique_prefix(),
            config,
            supervisor,
            _store: store,
            _folder: folder,
        })
    }

    /// Another node, which reaches Redis directly.
    pub(crate) async fn node(&self) -> AuthHandle {
        self.node_with(self.cache(&self.url).await).await
    }

    /// Another node, which reaches Redis through a proxy that a test can break.
    pub(crate) async fn fragile_node(&self) -> (AuthHandle, FaultProxy) {
        let (cache, proxy) = self.fragile_cache().await;
        (self.node_with(cache).await, proxy)
    }

    pub(crate) async fn fragile_cache(&self) -> (SharedCache, FaultProxy) {
        let proxy = FaultProxy::before(&host_and_port(&self.url)).await;
        let cache = self.cache(&format!("redis://{}", proxy.address())).await;
        (cache, proxy)
    }

    pub(crate) async fn node_with(&self, cache: SharedCache) -> AuthHandle {
        let auth = AuthHandle::start_sharing(&self.config, self.clock.clone(), &self.stores, cache);
        let auth = auth.await.unwrap();
        auth.spawn(self.supervisor.get_cell()).await.unwrap();
        auth
    }

    pub(crate) async fn cache(&self, url: &str) -> SharedCache {
        let options = RedisOptions {
            url: url.to_owned(),
            key_prefix: self.key_prefix.clone(),
            timeout: TIMEOUT,
        };
        SharedCache::Redis(Redis::open(&options).await.unwrap())
    }

    /// Gives the user other roles behind the nodes' backs.
    pub(crate) async fn set_roles(&self, roles: &[&str]) {
        let stored = self.stores.identity.user(self.user.id).await;
        let mut user = stored.unwrap().unwrap();
        user.roles = roles.iter().map(|&role| role.to_owned()).collect();
        user.version += 1;
        self.stores.identity.update_user(&user).await.unwrap();
    }

    /// A second administrator, so that the first one may lose the role.
    pub(crate) async fn add_administrator(&self) {
        let bob = Person {
            first_name: "Bob".to_owned(),
            last_name: "Builder".to_owned(),
            email: "bob@example.com".to_owned(),
            password: PASSWORD.to_owned(),
        };
        let roles = vec!["administrator".to_owned()];
        let organization = self.user.organization;
        accounts::add_user(&self.stores, &self.clock, organization, &bob, roles)
            .await
            .unwrap();
    }
}

pub(crate) fn unique_prefix() -> String {
    format!("faktor-test-{}", clock::random_hex::<8>())
}

pub(crate) fn host_and_port(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

/// A connection of the test's own, to look at what the nodes have in Redis.
pub(crate) async fn raw(url: &str) -> Client {
    let config = fred::types::config::Config::from_url(url).unwrap();
    let client = fred::types::Builder::from_config(config).build().unwrap();
    client.init().await.unwrap();
    client
}

/// All names and values under a prefix, as one text.
pub(crate) async fn everything_under(url: &str, key_prefix: &str) -> String {
    let script = r"
        local found = {}
        for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do
          found[#found + 1] = key
          local kind = redis.call('TYPE', key).ok
          if kind == 'hash' then
            for _, text in ipairs(redis.call('HGETALL', key)) do found[#found + 1] = text end
          else
            found[#found + 1] = redis.call('GET', key)
          end
          found[#found + 1] = 'ttl=' .. redis.call('PTTL', key)
        end
        return found";
    let client = raw(url).await;
    let found: Vec<bytes::Bytes> = client
        .eval(script, Vec::<String>::new(), vec![key_prefix.to_owned()])
        .await
        .unwrap();
    let texts: Vec<_> = found
        .iter()
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    texts.join("\n")
}

pub(crate) async fn login(node: &AuthHandle) -> String {
    node.login(EMAIL, PASSWORD).await.unwrap().access_token
}

pub(crate) async fn is_refused(node: &AuthHandle, bearer: &str) -> bool {
    match node.authenticate(bearer).await {
        Ok(_) => false,
        Err(AuthError::Unauthenticated { .. }) => true,
        Err(error) => panic!("neither let in nor refused: {error}"),
    }
}

pub(crate) async fn caller(node: &AuthHandle, bearer: &str) -> Caller {
    Caller::clone(&*node.authenticate(bearer).await.unwrap())
}

/// Waits for a condition and says how long that took.
pub(crate) async fn until<F: Future<Output = bool>>(
    what: &str,
    mut holds: impl FnMut() -> F,
) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}
