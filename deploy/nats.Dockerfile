# The NATS server of the pinned Go module, static, on nothing. `make image` builds bin/ first.
FROM scratch
COPY bin/nats-server /nats-server
COPY deploy/nats.conf /nats.conf
COPY --chown=65532:65532 deploy/data /data
USER 65532:65532
VOLUME /data
EXPOSE 4222
ENTRYPOINT ["/nats-server", "-c", "/nats.conf"]
