# The image of one service, two ways:
#
#   docker build --build-arg SERVICE=reader .                                   compiled in the build, for releases
#   docker build --build-arg SERVICE=reader --target host -f Dockerfile bin/images   around a binary compiled on this machine
#
# The second takes a second and needs no registry; `make images`, Tilt and the end-to-end tests use it.

FROM scratch AS host
ARG SERVICE
COPY ${SERVICE} /service
USER 65532:65532
ENTRYPOINT ["/service"]

# Go cross-compiles: the build runs on the builder's own platform, whatever the image is for.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG SERVICE TARGETOS TARGETARCH
WORKDIR /src
COPY services services
WORKDIR /src/services/${SERVICE}
# Without the workspace, so that the image is built of what the service's own go.mod says.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOWORK=off CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -tags=nomsgpack -ldflags='-s -w' -o /out/service .

FROM scratch
ARG SERVICE VERSION=dev
LABEL org.opencontainers.image.title="livecomments ${SERVICE}" \
      org.opencontainers.image.source="https://github.com/livecomments/livecomments" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# For Redis over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/service /service
USER 65532:65532
ENTRYPOINT ["/service"]
