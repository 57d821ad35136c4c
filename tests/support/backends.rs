//! Where the real servers are that a test asks for: `scripts/services env` prints their addresses.

use std::io::Write as _;

/// The server's address, or none: then the test ends, having said so. Under `REQUIRE_BACKENDS=1` a
/// missing server is a failure.
pub(crate) fn backend(name: &str) -> Option<String> {
    let variable = format!("FAKTOR_TEST_{name}_URL");
    let address = std::env::var(&variable)
        .ok()
        .filter(|value| !value.is_empty());
    if address.is_none() {
        assert!(
            std::env::var("REQUIRE_BACKENDS").is_err(),
            "{variable} is not set, and REQUIRE_BACKENDS is: start the servers by scripts/services up"
        );
        // Past the harness, which shows what a test prints only when it fails: whoever runs the
        // tests must see what was skipped.
        let _ = writeln!(std::io::stderr(), "skipped: {variable} is not set");
    }
    address
}
