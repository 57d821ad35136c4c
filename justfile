# The commands of CONTRIBUTING.md.

default:
    @just --list

# Everything CI checks, in its order.
check: fmt lint test docs

fmt:
    cargo fmt --check

lint:
    cargo clippy --all-targets --locked -- -D warnings

test:
    cargo test --locked

# The tests with every backing server there (scripts/services up starts what is not running yet).
test-backends:
    scripts/services up
    eval "$(scripts/services env)" && REQUIRE_BACKENDS=1 cargo test --locked
    eval "$(scripts/services env)" && FAKTOR_TEST_PROFILE=real cargo test --locked --test api

services-down:
    scripts/services down

# A node on the servers of scripts/services instead of its own files.
serve-backends:
    scripts/services up
    cargo run --locked -- --config deploy/all-real.toml

docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Licenses, bans and sources of the dependencies (advisories need a network).
deny:
    cargo deny check licenses bans sources

bench:
    cargo bench --locked

demo:
    cargo run --locked -- demo

# Three nodes on this machine with nothing installed; Ctrl-C ends them.
cluster:
    scripts/cluster

# Random faults under load for so long, the same ones for the same seed; then the checker's verdict.
# FAKTOR_CHAOS_NODES=5 for more nodes, FAKTOR_CHAOS_BINARY for an optimized build.
chaos SECONDS SEED:
    FAKTOR_CHAOS_SECONDS={{SECONDS}} FAKTOR_CHAOS_SEED={{SEED}} cargo test --locked --test cluster a_random_schedule -- --nocapture
