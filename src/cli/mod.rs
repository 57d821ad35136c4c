//! The `faktor` command.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::clock::Clock;
use crate::config::Config;
use crate::{http, telemetry};

pub mod args;
pub mod config;
pub mod demo;
pub mod password;
mod serve;
pub mod user;

use args::{Cli, Command};

/// Why a command ended without success. Each is a sentence for the person who typed it.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] crate::config::ConfigErrors),
    #[error(transparent)]
    Log(#[from] telemetry::LogError),
    #[error(transparent)]
    Start(#[from] crate::app::StartError),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
    #[error(transparent)]
    User(#[from] user::UserError),
    #[error("the node can't go on: {0}")]
    Failed(String),
    #[error("{0} is not part of this build")]
    Missing(&'static str),
    #[error("the OpenAPI document can't be written: {0}")]
    Json(#[from] serde_json::Error),
    #[error("can't write or wait: {0}")]
    Io(#[from] io::Error),
}

/// Carries out the command line of this process: 0 for success, 1 for an error in words on standard
/// error, 2 for a command line that can't be understood.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Also the way of --help and --version, which are no errors.
            let _ = usage.print();
            return if usage.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match carry_out(cli, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as `head` does.
        Err(CliError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "faktor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(cli: Cli, out: &mut impl Write) -> Result<(), CliError> {
    let named = cli.config.clone();
    let config = || config::load(named.as_deref());
    match cli.into_command() {
        Command::Serve => {
            let config = config()?.config;
            telemetry::log(&config.log)?;
            block_on(serve::run(config, Clock::System, out))
        }
        Command::Demo { exit } => {
            let config = config()?.config;
            telemetry::log(&quiet(&config))?;
            block_on(serve::demo(config, exit, out))
        }
        Command::Render(_) => Err(CliError::Missing("render")),
        Command::User(command) => {
            let config = config()?.config;
            telemetry::log(&quiet(&config))?;
            block_on(async { Ok(user::run(command, &config, &Clock::System, out).await?) })
        }
        Command::Config(command) => Ok(config::run(command, &config()?, out)?),
        Command::Openapi => Ok(writeln!(out, "{}", http::openapi().to_pretty_json()?)?),
        Command::Version => Ok(writeln!(out, "faktor {}", env!("CARGO_PKG_VERSION"))?),
    }
}

/// A command that talks to a person logs no more than warnings, unless asked for.
fn quiet(config: &Config) -> crate::config::Log {
    let mut log = config.log.clone();
    if log.filter == "info" {
        "warn".clone_into(&mut log.filter);
    }
    log
}

fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
