# One image for the desk and every service: a static binary and nothing else, no shell and no root. And the Collector's
# image with that binary, which asks the Collector how it is: that image has no program that could.
# docker compose hands in the versions of .env; on its own: docker build --build-arg RUST_VERSION=1.95.0 …
ARG RUST_VERSION=1.95.0
ARG COLLECTOR_VERSION=0.159.0

FROM rust:${RUST_VERSION}-alpine AS build
# musl's headers, for the C of SQLite and ring; rust on Alpine links statically.
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
# What was downloaded and compiled before is kept between builds, outside of the image. No optimizing across crates, nor of a
# crate as a whole: it costs time here, and a lab has no use for it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --locked --path crates/insurewatch --features nats --no-track --root /out
# Volumes take over the owner of the folder that they are mounted on.
RUN mkdir -p /out/data /out/settings

FROM otel/opentelemetry-collector-contrib:${COLLECTOR_VERSION} AS collector
COPY --from=build /out/bin/insurewatch /usr/local/bin/insurewatch
COPY --from=build --chown=10001:10001 /out/data /var/lib/otelcol
ENV PATH=/usr/local/bin

FROM scratch
COPY --from=build /out/bin/insurewatch /usr/local/bin/insurewatch
COPY --from=build --chown=10001:10001 /out/data /data
COPY --from=build --chown=10001:10001 /out/settings /settings
ENV PATH=/usr/local/bin
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["insurewatch"]
