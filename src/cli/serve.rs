//! `faktor serve`: the node, until it is told to stop.

use std::io::{self, Write};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;

/// Runs a node until Ctrl-C or SIGTERM, then drains it.
pub(super) async fn run(config: Config) -> Result<(), Failure> {
    // Before the node is ready, so that whoever sees it ready can stop it in order.
    let mut stop = Stop::listen()?;
    raise_file_limit();
    let app = App::start(config, Clock::System).await?;
    tracing::info!(server.url = app.public_url, server.address = %app.address, "listening on http://{}", app.address);
    if let Some(setup_url) = &app.setup_url {
        // A secret, so it goes to the terminal and not into the log.
        let printed = writeln!(
            io::stdout(),
            "There is no user yet. Open this link once to make the first administrator:\n{setup_url}"
        );
        if let Err(error) = printed {
            tracing::error!(%error, "the link that makes the first administrator could not be printed; set FAKTOR_ADMIN_EMAIL and FAKTOR_ADMIN_PASSWORD");
        }
    }
    let outcome = stop.or_failure_of(&app).await;
    tracing::info!("draining; Ctrl-C again ends at once, and nothing acknowledged is lost");
    tokio::select! {
        () = app.stop() => tracing::info!("stopped"),
        () = stop.interrupted() => tracing::warn!("stopped in the middle of the drain"),
    }
    outcome
}

/// Every connection is an open file, and the usual soft limit of 1,024 is there for programs that use
/// `select`. Where it can't be raised the node works within it.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Hears the signals that stop a node.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves at Ctrl-C or SIGTERM; fails when the node can't go on.
    pub(super) async fn or_failure_of(&mut self, app: &App) -> Result<(), Failure> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(()),
            _ = self.terminate.recv() => Ok(()),
            reason = app.failed() => Err(reason.into()),
        }
    }

    /// Resolves at Ctrl-C.
    pub(super) async fn interrupted(&mut self) {
        self.interrupt.recv().await;
    }
}
