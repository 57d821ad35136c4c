//! The shared cache in Redis (or Valkey), by fred. Nothing here waits longer than the command
//! time-out, and whatever goes wrong only means that there is no answer.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use fred::clients::{Client, WithOptions};
use fred::interfaces::{ClientLike as _, LuaInterface as _};
use fred::types::config::Options;
use fred::types::scripts::Script;
use fred::types::{FromValue, Value};
use moka::sync::Cache;
use tokio::sync::broadcast;
use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::circuit::Circuit;
use self::scripts::Scripts;
use super::cache::{
    CacheError, Digest, Kept, LoginEnd, LoginEntry, LoginLimit, Reading, Recalled, Revoked, Scope,
};
use crate::clock;

mod circuit;
mod connection;
mod messages;
mod scripts;

/// Begins every key after the configured prefix; another number when what is kept changes its form.
const FORMAT: &str = "1";
/// A scope's generation is made anew after this long, which costs one look at the store.
const GENERATION_MS: i64 = 3_600_000;
/// Revocations waiting to be noticed in this process; more count as [`Revoked::Anything`].
const MAX_WAITING_REVOCATIONS: usize = 1_024;
/// Nothing kept lives longer than `auth.cache_ttl_s`, which is at most five seconds.
const LONGEST_LIFE: Duration = Duration::from_secs(6);
/// Scopes whose revocation did not reach Redis, at most.
const MAX_UNTOLD: u64 = 10_000;

/// How to reach Redis, and what to call what is kept there.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://` or `rediss://`; may hold a password.
    pub url: String,
    /// Begins all keys and channels.
    pub key_prefix: String,
    /// A command that takes longer has failed.
    pub timeout: Duration,
}

/// A connection to Redis that comes back by itself. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    client: WithOptions<Client>,
    scripts: Scripts,
    circuit: Circuit,
    key_prefix: String,
    revoked: broadcast::Sender<Revoked>,
    /// Revoked, but Redis may not know: what it has of them is not believed while it may live.
    untold: Cache<Scope, ()>,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis")
    }
}

impl Redis {
    /// Connects and listens for revocations. Fails when Redis can't be reached now; later it may go
    /// and come back.
    pub async fn open(options: &RedisOptions) -> Result<Self, CacheError> {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let (revoked, _) = broadcast::channel(MAX_WAITING_REVOCATIONS);
        let channel = format!("{}:{FORMAT}:revoked", options.key_prefix);
        let client = connection::open(options, channel, revoked.clone(), stop.clone());
        let client = Box::pin(client).await?;
        let once = Options {
            max_attempts: Some(1),
            timeout: Some(options.timeout),
            // A command that waits for a connection comes too late to be of use.
            fail_fast: true,
            ..Options::default()
        };
        Ok(Self {
            inner: Arc::new(Inner {
                client: client.with_options(&once),
                scripts: Scripts::new(),
                circuit: Circuit::new(),
                key_prefix: options.key_prefix.clone(),
                revoked,
                untold: Cache::builder()
                    .max_capacity(MAX_UNTOLD)
                    .time_to_live(LONGEST_LIFE)
                    .build(),
                stop,
                _stop_when_dropped: guard,
            }),
        })
    }

    pub(super) async fn recall(&self, bearer: &Digest, scopes: &[Scope]) -> Option<Recalled> {
        if self.is_untold(scopes) {
            return None;
        }
        let mut keys = vec![self.entry_key(bearer)];
        keys.extend(scopes.iter().map(|scope| self.generation_key(*scope)));
        let args = vec![
            clock::random_hex::<16>().into(),
            Value::Integer(GENERATION_MS),
        ];
        let (stamp, now_ms, left_ms, body): (String, i64, i64, Bytes) = self
            .ask("recall", &self.inner.scripts.recall, keys, args)
            .await?;
        // A revocation may have failed in the meantime.
        if self.is_untold(scopes) {
            return None;
        }
        let left = u64::try_from(left_ms).unwrap_or(0);
        let kept = (left > 0).then(|| Kept {
            body,
            left: Duration::from_millis(left),
        });
        Some(Recalled {
            kept,
            reading: Reading {
                bearer: *bearer,
                stamp,
                began_at_ms: now_ms,
            },
        })
    }

    pub(super) async fn keep(&self, reading: Reading, body: Bytes, lives: Duration) {
        let ends_at_ms = reading
            .began_at_ms
            .saturating_add(milliseconds(lives.min(LONGEST_LIFE)));
        let keys = vec![self.entry_key(&reading.bearer)];
        let args = vec![
            reading.stamp.into(),
            Value::Bytes(body),
            Value::Integer(ends_at_ms),
        ];
        // Not kept: looked up again.
        let _: Option<i64> = self.ask("keep", &self.inner.scripts.keep, keys, args).await;
    }

    pub(super) async fn revoke(&self, scopes: &[Scope]) {
        let keys = scopes.iter().map(|scope| self.generation_key(*scope));
        let channel = format!("{}:{FORMAT}:revoked", self.inner.key_prefix);
        let mut args = vec![Value::from(channel)];
        args.extend(scopes.iter().map(|scope| messages::write(*scope).into()));
        // Whatever the circuit says: other nodes may still reach Redis.
        let told: Option<i64> = self
            .run("revoke", &self.inner.scripts.revoke, keys.collect(), args)
            .await;
        if told.is_none() {
            for scope in scopes {
                self.inner.untold.insert(*scope, ());
            }
            tracing::warn!(
                "other nodes could not be told of a revocation; it holds there when what they \
                 remember has run out, within auth.cache_ttl_s"
            );
        }
    }

    pub(super) fn revocations(&self) -> broadcast::Receiver<Revoked> {
        self.inner.revoked.subscribe()
    }

    pub(super) async fn login_begins(
        &self,
        address: &Digest,
        limit: LoginLimit,
    ) -> Option<LoginEntry> {
        let args = vec![
            Value::Integer(limit.max_failed.into()),
            Value::Integer(milliseconds(limit.window)),
        ];
        let keys = vec![self.key("login", &hex::encode(address))];
        let wait_ms: i64 = self
            .ask("login", &self.inner.scripts.login_begins, keys, args)
            .await?;
        Some(match u64::try_from(wait_ms) {
            Ok(0) => LoginEntry::Admitted,
            Ok(wait_ms) => LoginEntry::Waits(Duration::from_millis(wait_ms)),
            Err(_) => LoginEntry::Crowded,
        })
    }

    pub(super) async fn login_ends(&self, address: &Digest, end: LoginEnd, limit: LoginLimit) {
        let end = match end {
            LoginEnd::Succeeded => "succeeded",
            LoginEnd::Failed => "failed",
            LoginEnd::Abandoned => "abandoned",
        };
        let args = vec![end.into(), Value::Integer(milliseconds(limit.window))];
        let keys = vec![self.key("login", &hex::encode(address))];
        // Not counted here: the node's own count goes on.
        let _: Option<i64> = self
            .ask("login", &self.inner.scripts.login_ends, keys, args)
            .await;
    }

    pub(super) async fn admit(&self, used: &str, per_minute: u32) -> Option<Result<(), Duration>> {
        let keys = vec![self.key("rate", &hex::encode(digest(&SHA256, used.as_bytes())))];
        let args = vec![Value::Integer(per_minute.into())];
        let wait_ms: i64 = self
            .ask("rate", &self.inner.scripts.admit, keys, args)
            .await?;
        Some(match u64::try_from(wait_ms) {
            Ok(0) | Err(_) => Ok(()),
            Ok(wait_ms) => Err(Duration::from_millis(wait_ms)),
        })
    }

    pub(super) async fn ping(&self) -> Result<(), CacheError> {
        let answer: Result<(), _> = self.inner.client.ping(None).await;
        answer.map_err(|error| CacheError(error.to_string()))
    }

    pub(super) fn close(&self) {
        self.inner.stop.cancel();
    }

    fn is_untold(&self, scopes: &[Scope]) -> bool {
        scopes
            .iter()
            .any(|scope| self.inner.untold.contains_key(scope))
    }

    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{FORMAT}:{kind}:{name}", self.inner.key_prefix)
    }

    fn entry_key(&self, bearer: &Digest) -> String {
        self.key("bearer", &hex::encode(bearer))
    }

    fn generation_key(&self, scope: Scope) -> String {
        self.key("generation", &messages::write(scope))
    }

    /// Runs a script unless Redis did not answer of late.
    async fn ask<R: FromValue>(
        &self,
        command: &'static str,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Option<R> {
        if self.inner.circuit.admits() {
            self.run(command, script, keys, args).await
        } else {
            None
        }
    }

    async fn run<R: FromValue>(
        &self,
        command: &'static str,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Option<R> {
        let began = Instant::now();
        // The client's futures are large, and this one is a part of every request's.
        let answer = Box::pin(self.evaluate(script, keys, args)).await;
        metrics::histogram!("faktor_redis_seconds", "command" => command)
            .record(began.elapsed().as_secs_f64());
        match answer {
            Ok(answer) => {
                if self.inner.circuit.succeeded() {
                    tracing::info!("Redis answers again");
                }
                Some(answer)
            }
            Err(error) => {
                metrics::counter!("faktor_redis_errors_total", "command" => command).increment(1);
                if self.inner.circuit.failed() {
                    tracing::warn!(
                        command, %error,
                        "Redis does not answer; this node goes on by itself until it does"
                    );
                }
                None
            }
        }
    }

    async fn evaluate<R: FromValue>(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<R, fred::error::Error> {
        let client = &self.inner.client;
        match client
            .evalsha(script.sha1().clone(), keys.clone(), args.clone())
            .await
        {
            // A Redis that was started anew does not know it.
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                let source = script.lua().cloned().unwrap_or_default();
                client.eval(source, keys, args).await
            }
            answer => answer,
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
