//! The `faktor` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    faktor::cli::run()
}
