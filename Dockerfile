# syntax=docker/dockerfile:1
# docker buildx build --platform linux/amd64,linux/arm64 --tag HOST/berth:TAG --push .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags='-s -w' -o /out/berth ./cmd/berth

# Certificates, a user that is not root, and a place for temporary files; no shell.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/berth /usr/local/bin/berth
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/berth"]
