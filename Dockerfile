# The node in an image of its own: the binary, the certificates of public authorities, nothing to install.
#   docker build -t faktor .
#   docker run -p 3300:3300 -v faktor-data:/data -e FAKTOR_ADMIN_EMAIL=… -e FAKTOR_ADMIN_PASSWORD=… faktor
# Settings come from /etc/faktor/config.toml (mount it) and from the environment, which wins.

# Has a C and C++ compiler, make and zlib, which librdkafka, SQLite and the cryptography are built with.
FROM rust:1.95.0-bookworm AS build
WORKDIR /faktor

# Only the dependencies, against empty sources: this layer stays until the manifests change.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir -p src benches/edge benches/cluster migrations \
    && touch src/lib.rs benches/store.rs benches/render.rs benches/edge/main.rs benches/cluster/main.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cargo build --release --locked --bin faktor \
    && rm -rf src

COPY assets assets
COPY migrations migrations
COPY config.toml ./
COPY src src
# The empty sources are younger than these files, so cargo has to be told.
RUN touch build.rs src/lib.rs src/main.rs \
    && cargo build --release --locked --bin faktor \
    && mkdir /data

FROM debian:12.12-slim
LABEL org.opencontainers.image.title="Faktor" \
      org.opencontainers.image.description="An invoice platform in one binary: every invoice is an actor with one owner" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /faktor/target/release/faktor /usr/local/bin/faktor
# A new volume takes over this directory's owner.
COPY --from=build --chown=10001:10001 /data /data
# Where ./config.toml is looked for.
WORKDIR /etc/faktor
USER 10001:10001
ENV FAKTOR__SERVER__LISTEN=0.0.0.0:3300 \
    FAKTOR__STORAGE__DATA_DIR=/data
VOLUME /data
# For requests, and for other nodes (if cluster.listen names it).
EXPOSE 3300 3400
# Begins the stop; give `docker stop` 45 s: it takes server.drain_timeout_s, which is 20 s, and some seconds
# to close what is open.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["faktor", "health"]
ENTRYPOINT ["faktor"]
CMD ["serve"]
