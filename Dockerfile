# One image a target: gateway, instance-svc, files-svc, apps-svc, embedded-couchdb, cli, setup.
#
#   docker build --target gateway --tag hamlet/gateway .
#
# Written for BuildKit and for the classic builder alike: no cache mounts, no here-documents.

# Where the programs are compiled: a Debian with Rust and gcc. Its C library must not be newer than the
# runtime image's.
ARG BUILDER_IMAGE=rust:1.95-slim-bookworm
# What the programs run on: a C library and libgcc. Nothing else is needed, not even a shell: an image without
# one, such as a distroless one, will do as well.
ARG RUNTIME_IMAGE=debian:bookworm-slim


# The manifests, and an empty file for each program and library, of which there is nothing to warn. It is made anew
# with every change of the code, but its content changes only with a manifest or with a new crate, and so decides
# whether the next stage is made anew.
FROM ${BUILDER_IMAGE} AS skeleton
WORKDIR /source
COPY . .
RUN set -eu; \
    mkdir /skeleton; \
    find . \( -name Cargo.toml -o -name Cargo.lock -o -path ./.cargo/config.toml \) \
        -exec cp --parents {} /skeleton ';'; \
    # Cargo wants a bench that a manifest names to be there.
    find . \( -path '*/src/lib.rs' -o -path '*/src/main.rs' -o -path '*/src/bin/*.rs' -o -name build.rs \
        -o -path '*/benches/*.rs' \) | while read -r file; do \
        mkdir -p "/skeleton/$(dirname "$file")"; \
        echo '#![allow(warnings)] fn main() {}' > "/skeleton/$file"; \
    done


# The programs, in /programs.
FROM ${BUILDER_IMAGE} AS programs
# A folder below this one with programs that were built elsewhere. They are packed as they are, for places
# where the build of an image reaches no crate registry:
#
#   cargo build --release && mkdir -p dist && cp target/release/{gateway,…} dist
#   docker build --build-arg BINARIES=dist …
ARG BINARIES=
# To find what the classic builder leaves behind.
LABEL hamlet.binaries=${BINARIES}
# Slower to compile than what `cargo run --release` makes, and made once.
ENV CARGO_PROFILE_RELEASE_LTO=thin \
    CARGO_INCREMENTAL=0 \
    PACKAGES="-p gateway -p instance-svc -p files-svc -p apps-svc -p embedded-couchdb -p cli -p setup"
WORKDIR /build
COPY --from=skeleton /skeleton .
# What Hamlet depends on, apart from its own code: this layer stays until a manifest changes.
RUN test -n "$BINARIES" || cargo build --release --locked $PACKAGES
COPY . .
RUN set -eu; \
    mkdir /programs; \
    from="$BINARIES"; \
    if [ -z "$BINARIES" ]; then \
        # The empty sources above were compiled later than the real ones were written. Sources that dependencies
        # generated stay untouched, or they would be compiled again, and all that depends on them.
        find . -path ./target -prune -o -name '*.rs' -exec touch {} +; \
        cargo build --release --locked $PACKAGES; \
        from=target/release; \
    elif [ ! -d "$BINARIES" ]; then \
        echo "BINARIES: there is no folder $BINARIES in the build context" >&2; \
        exit 1; \
    fi; \
    for program in gateway instance-svc files-svc apps-svc embedded-couchdb hamlet hamlet-setup; do \
        cp "$from/$program" /programs/ \
            || { echo "BINARIES: $program is missing in $from" >&2; exit 1; }; \
    done; \
    # Folders for volumes: a new volume takes the owner of the folder that it is mounted on.
    mkdir -p /folders/hamlet/couchdb /folders/hamlet/cluster /folders/hamlet/admin /folders/hamlet/contents /folders/hamlet/state; \
    mkdir -p /folders/opt/couchdb/data; \
    # Certificates by which registries of apps are known; a slim runtime image has none.
    mkdir /certificates; \
    if [ -e /etc/ssl/certs/ca-certificates.crt ]; then \
        cp -L /etc/ssl/certs/ca-certificates.crt /certificates/; \
    fi


# What all images share.
FROM ${RUNTIME_IMAGE} AS runtime
COPY --from=programs /certificates /etc/ssl/certs
# Nobody's number in particular; a number needs no user database.
COPY --from=programs --chown=65532:65532 /folders/hamlet /hamlet
USER 65532:65532
WORKDIR /hamlet


FROM runtime AS gateway
COPY --from=programs /programs/gateway /usr/local/bin/
EXPOSE 8080 6060
ENTRYPOINT ["/usr/local/bin/gateway"]


FROM runtime AS instance-svc
COPY --from=programs /programs/instance-svc /usr/local/bin/
EXPOSE 7001
ENTRYPOINT ["/usr/local/bin/instance-svc"]


FROM runtime AS files-svc
COPY --from=programs /programs/files-svc /usr/local/bin/
EXPOSE 7002
ENTRYPOINT ["/usr/local/bin/files-svc"]


FROM runtime AS apps-svc
COPY --from=programs /programs/apps-svc /usr/local/bin/
# The registry of a fresh installation.
COPY examples/apps /usr/local/share/hamlet/apps
EXPOSE 7003
ENTRYPOINT ["/usr/local/bin/apps-svc"]


FROM runtime AS embedded-couchdb
COPY --from=programs /programs/embedded-couchdb /usr/local/bin/
# Where the official image of CouchDB keeps its data, so that one compose file fits both.
COPY --from=programs --chown=65532:65532 /folders/opt/couchdb/data /opt/couchdb/data
EXPOSE 5984
ENTRYPOINT ["/usr/local/bin/embedded-couchdb"]


FROM runtime AS cli
COPY --from=programs /programs/hamlet /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/hamlet"]


FROM runtime AS setup
COPY --from=programs /programs/hamlet-setup /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/hamlet-setup"]
