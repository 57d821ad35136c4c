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

docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Licenses, bans and sources of the dependencies (advisories need a network).
deny:
    cargo deny check licenses bans sources

bench:
    cargo bench --locked

demo:
    cargo run --locked -- demo
