# docker build -t doorward .
# docker run -p 80:80 -p 443:443 -v ./config:/etc/doorward -v doorward:/var/lib/doorward doorward

FROM rust:1-bookworm AS builder
WORKDIR /build
COPY . .
# rust-toolchain.toml asks for the linters too; an image needs none of them.
RUN rm rust-toolchain.toml && cargo build --locked --profile dist && cp target/dist/doorward /doorward

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libcap2-bin \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10443 doorward \
    && useradd --system --uid 10443 --gid doorward --home-dir /var/lib/doorward --shell /usr/sbin/nologin doorward \
    && install -d -o doorward -g doorward -m 0750 /etc/doorward \
    && install -d -o doorward -g doorward -m 0700 /var/lib/doorward \
    && install -d -o doorward -g doorward -m 0750 /run/doorward
COPY --from=builder /doorward /usr/bin/doorward
# A user who is not root may bind 80 and 443 by this capability. Docker also sets
# net.ipv4.ip_unprivileged_port_start=0 by itself; under a runtime that drops file capabilities
# (`no-new-privileges`) and does not set it, give `--sysctl net.ipv4.ip_unprivileged_port_start=80`.
RUN setcap cap_net_bind_service=+ep /usr/bin/doorward \
    && apt-get purge -y --auto-remove libcap2-bin

USER doorward
VOLUME ["/etc/doorward", "/var/lib/doorward"]
EXPOSE 80 443
STOPSIGNAL SIGTERM
# `status` asks the running doorward over its admin socket and fails when nobody answers.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["doorward", "status", "--config", "/etc/doorward/doorward.toml"]
ENTRYPOINT ["/usr/bin/doorward"]
CMD ["run", "--config", "/etc/doorward/doorward.toml"]
