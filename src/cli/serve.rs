//! `faktor serve`, and how every running node ends: drained on Ctrl-C or SIGTERM.

use std::io::{self, Write};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, demo};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;

/// Runs a node until it is told to stop or can't go on.
pub(super) async fn run(
    config: Config,
    clock: Clock,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let mut stop = StopSignals::listen()?;
    let app = App::start(config, clock).await?;
    tracing::info!(address = %app.address, public_url = app.public_url, "the node is ready");
    if let Some(setup_url) = &app.setup_url {
        writeln!(
            out,
            "There are no users yet. Make the first one at\n  {setup_url}"
        )?;
        out.flush()?;
    }
    until_stopped(app, &mut stop).await
}

/// Runs the demo; its node stays until it is told to stop, or ends at once with `exit`.
pub(super) async fn demo(config: Config, exit: bool, out: &mut impl Write) -> Result<(), CliError> {
    let mut stop = StopSignals::listen()?;
    let (app, _data_dir) = demo::run(config, out).await?;
    if exit {
        app.stop().await;
        return Ok(());
    }
    writeln!(out, "\nCtrl-C ends it.")?;
    out.flush()?;
    until_stopped(app, &mut stop).await
}

async fn until_stopped(app: App, stop: &mut StopSignals) -> Result<(), CliError> {
    let failure = tokio::select! {
        () = stop.next() => None,
        reason = app.failed() => Some(reason),
    };
    tracing::info!("the node is draining");
    tokio::select! {
        () = app.stop() => tracing::info!("the node has stopped"),
        () = stop.next() => tracing::warn!("told twice: the node stops without draining"),
    }
    failure.map_or(Ok(()), |reason| Err(CliError::Failed(reason)))
}

/// Ctrl-C and SIGTERM.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self {
            interrupt,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
