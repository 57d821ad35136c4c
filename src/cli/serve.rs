//! `faktor serve`: the node, until it is told to stop.

use std::io::{self, Write};

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;

/// Runs a node until Ctrl-C or SIGTERM, then drains it.
pub(super) async fn run(config: Config) -> Result<(), Failure> {
    let app = App::start(config, Clock::System).await?;
    tracing::info!(server.url = app.public_url, server.address = %app.address, "listening on http://{}", app.address);
    if let Some(setup_url) = &app.setup_url {
        // A secret, so it goes to the terminal and not into the log.
        writeln!(
            io::stdout(),
            "There is no user yet. Open this link once to make the first administrator:\n{setup_url}"
        )?;
    }
    let outcome = until_told(&app).await;
    tracing::info!("draining; Ctrl-C again ends at once, and nothing acknowledged is lost");
    tokio::select! {
        () = app.stop() => tracing::info!("stopped"),
        _ = tokio::signal::ctrl_c() => tracing::warn!("stopped in the middle of the drain"),
    }
    outcome
}

/// Resolves at Ctrl-C or SIGTERM; fails when the node can't go on.
pub(super) async fn until_told(app: &App) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => Ok(told?),
        _ = terminate.recv() => Ok(()),
        reason = app.failed() => Err(reason.into()),
    }
}
