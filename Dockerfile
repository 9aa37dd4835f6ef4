# One image for the desk and every service: a static binary and nothing else, no shell and no root.
# docker compose hands in the versions of .env; on its own: docker build --build-arg RUST_VERSION=1.95.0 …
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-alpine AS chef
ARG CARGO_CHEF_VERSION=0.1.78
# musl's headers, for the C of SQLite and ring; rust on Alpine links statically.
RUN apk add --no-cache musl-dev && cargo install cargo-chef --locked --version ${CARGO_CHEF_VERSION}
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path /recipe.json

FROM chef AS build
COPY --from=plan /recipe.json /recipe.json
# The layer of the dependencies: built again only when they change.
RUN cargo chef cook --release --locked -p insurewatch --features insurewatch/nats --recipe-path /recipe.json
COPY . .
RUN cargo build --release --locked -p insurewatch --features insurewatch/nats
# Volumes take over the owner of the folder that they are mounted on.
RUN mkdir -p /out/data /out/settings && cp target/release/insurewatch /out/

FROM scratch
COPY --from=build /out/insurewatch /usr/local/bin/insurewatch
COPY --from=build --chown=10001:10001 /out/data /data
COPY --from=build --chown=10001:10001 /out/settings /settings
ENV PATH=/usr/local/bin
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["insurewatch"]
