//! The connection: opened once, kept up by fred, and opened again when fred gives it up.

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _};
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use fred::types::{Builder, ConnectHandle, Message, RespVersion};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::{Duration, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{RedisOptions, messages};
use crate::store::cache::{CacheError, Revoked};

/// Between attempts to reach a Redis that is gone, growing from the first to the last.
const FIRST_DELAY_MS: u32 = 50;
const LAST_DELAY_MS: u32 = 1_000;
const JITTER_MS: u32 = 50;
/// After fred gave up for good (such as after a wrong password), and after a refused subscription.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Shorter time-outs than this are for commands, not for making connections.
const SHORTEST_CONNECT: Duration = Duration::from_secs(1);
/// A connection on which nothing comes for some of these is noticed and replaced.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Messages waiting to be read; more are missed, which is noticed.
const MAX_WAITING_MESSAGES: usize = 1_024;

/// Connects, subscribes, and keeps both up until `stop`.
pub(super) async fn open(
    options: &RedisOptions,
    channel: String,
    revoked: Sender<Revoked>,
    stop: CancellationToken,
) -> Result<Client, CacheError> {
    let client = build(options).map_err(|error| said(&error))?;
    let running = client.init().await.map_err(|error| said(&error))?;
    tokio::spawn(keep_connected(client.clone(), running, stop.clone()));
    let listener = Listener {
        reconnects: client.reconnect_rx(),
        messages: client.message_rx(),
        client: client.clone(),
        channel,
        revoked,
    };
    listener
        .client
        .subscribe(listener.channel.as_str())
        .await
        .map_err(|error| said(&error))?;
    tokio::spawn(listener.run(stop));
    Ok(client)
}

fn said(error: &Error) -> CacheError {
    CacheError(error.to_string())
}

fn build(options: &RedisOptions) -> Result<Client, Error> {
    let mut config = Config::from_url_centralized(&options.url)?;
    // Messages and answers on one connection.
    config.version = RespVersion::RESP3;
    let connect = options.timeout.max(SHORTEST_CONNECT);
    let mut policy = ReconnectPolicy::new_exponential(0, FIRST_DELAY_MS, LAST_DELAY_MS, 2);
    policy.set_jitter(JITTER_MS);
    Builder::from_config(config)
        .with_performance_config(|performance| {
            performance.default_command_timeout = options.timeout;
            performance.broadcast_channel_capacity = MAX_WAITING_MESSAGES;
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = connect;
            connection.internal_command_timeout = connect;
            connection.max_command_attempts = 1;
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(connect * 2),
                interval: connect / 2,
            };
        })
        .set_policy(policy)
        .build()
}

async fn keep_connected(client: Client, mut running: ConnectHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(&mut running).await.is_some() {
        tracing::warn!("the connection to Redis was given up; it is made anew");
        running = loop {
            if stop.run_until_cancelled(sleep(TRY_AGAIN)).await.is_none() {
                return;
            }
            match client.init().await {
                Ok(running) => break running,
                Err(error) => tracing::warn!(%error, "Redis can't be reached"),
            }
        };
    }
    if let Err(error) = client.quit().await {
        tracing::debug!(%error, "the connection to Redis was gone before it was closed");
    }
}

/// Hears of what other nodes revoke.
struct Listener {
    client: Client,
    channel: String,
    revoked: Sender<Revoked>,
    reconnects: Receiver<fred::types::config::Server>,
    messages: Receiver<Message>,
}

impl Listener {
    async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.listen()).await.is_some() {
            let subscribed = self.subscribe_again();
            if stop.run_until_cancelled(subscribed).await.is_none() {
                return;
            }
            // What was revoked while nobody listened.
            self.tell(Revoked::Anything);
        }
    }

    /// Listens until the connection was made anew.
    async fn listen(&mut self) {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                reconnected = self.reconnects.recv() => match reconnected {
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    // Without the client there is nothing to listen to.
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                message = self.messages.recv() => match message {
                    Ok(message) => self.hear(&message),
                    Err(RecvError::Lagged(_)) => self.tell(Revoked::Anything),
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                _ = heartbeat.tick() => {
                    // Its time-out is what tells fred that the connection is dead.
                    let _: Result<(), _> = self.client.ping(None).await;
                }
            }
        }
    }

    async fn subscribe_again(&self) {
        while let Err(error) = self.client.subscribe(self.channel.as_str()).await {
            tracing::warn!(%error, "revocations of other nodes can't be listened for");
            sleep(TRY_AGAIN).await;
        }
    }

    fn hear(&self, message: &Message) {
        if message.channel == self.channel.as_str() {
            let text = message.value.as_str();
            self.tell(messages::read(text.as_deref().unwrap_or_default()));
        }
    }

    fn tell(&self, revoked: Revoked) {
        // Nobody listens in this process: then nothing is remembered in it either.
        let _ = self.revoked.send(revoked);
    }
}
