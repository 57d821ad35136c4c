//! `faktor config`, and the configuration of every other command.

use std::io::{self, Write};
use std::path::Path;

use super::args;
use crate::config::{ConfigErrors, Effective};

/// The configuration from the named file, the present directory and the environment.
pub fn load(named: Option<&Path>) -> Result<Effective, ConfigErrors> {
    // A variable that is not text can't be a setting.
    let text = |variable: std::ffi::OsString| variable.into_string().ok();
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    Effective::load(named, Path::new("."), environment)
}

/// Carries out `faktor config check` or `print`.
pub fn run(command: args::Config, effective: &Effective, out: &mut impl Write) -> io::Result<()> {
    match command {
        args::Config::Check => writeln!(out, "The configuration is fine."),
        args::Config::Print => write!(out, "{}", effective.print()),
    }
}
