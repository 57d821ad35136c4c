//! The `faktor` command.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry;

pub mod args;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod health;
pub mod invoice_file;
pub mod password;
pub mod render;
pub mod serve;
pub mod user;

/// A command's failure, as a sentence.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads the command line, carries it out, and says in one sentence what went wrong.
pub fn run() -> ExitCode {
    match carry_out(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if is_broken_pipe(&failure) => ExitCode::SUCCESS,
        Err(failure) => {
            // Without standard error there is nobody to tell.
            let _ = writeln!(io::stderr(), "faktor: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The reader of what is printed has seen enough, as `head` does: no error of ours.
fn is_broken_pipe(failure: &Failure) -> bool {
    let error = failure.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn carry_out(cli: Cli) -> Result<(), Failure> {
    let named = cli.config.clone();
    let mut out = io::stdout();
    match cli.into_command() {
        Command::Version => Ok(writeln!(out, "faktor {}", env!("CARGO_PKG_VERSION"))?),
        Command::Openapi => {
            let document = crate::http::openapi().to_pretty_json()?;
            Ok(writeln!(out, "{document}")?)
        }
        Command::Render(render) => render::run(&render),
        Command::Config(command) => {
            let effective = config::load(named.as_deref())?;
            Ok(config::run(command, &effective, &mut out)?)
        }
        Command::User(command) => {
            let config = configure(named.as_deref())?;
            runtime()?.block_on(user::run(command, &config, &Clock::System, &mut out))?;
            Ok(())
        }
        Command::Cluster(command) => {
            let config = configure(named.as_deref())?;
            runtime()?.block_on(cluster::run(command, &config, &mut out))?;
            Ok(())
        }
        Command::Serve => {
            let config = configure(named.as_deref())?;
            runtime()?.block_on(serve::run(config))
        }
        Command::Health { url } => {
            let config = config::load(named.as_deref())?.config;
            let status = runtime()?.block_on(health::run(url.as_deref(), &config))?;
            Ok(writeln!(out, "{status}")?)
        }
        Command::Demo { exit } => {
            let mut config = config::load(named.as_deref())?.config;
            // The steps are what is to be read; what goes wrong is said all the same.
            "warn".clone_into(&mut config.log.filter);
            telemetry::log(&config.log)?;
            runtime()?.block_on(demo(config, exit))
        }
    }
}

/// The configuration, with the log set up as it says.
fn configure(named: Option<&std::path::Path>) -> Result<Config, Failure> {
    let config = config::load(named)?.config;
    telemetry::log(&config.log)?;
    Ok(config)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

async fn demo(config: Config, exit: bool) -> Result<(), Failure> {
    let mut out = io::stdout();
    let mut stop = serve::Stop::listen()?;
    let app = demo::run(config, &mut out).await?;
    if !exit {
        writeln!(out, "\nThe node goes on until Ctrl-C.")?;
        stop.or_failure_of(&app).await?;
    }
    app.stop().await;
    Ok(())
}
