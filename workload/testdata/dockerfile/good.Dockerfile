# check=error=true
ARG GO_VERSION=1.26
ARG BASE="alpine:${ALPINE:-3.22}"
ARG EMPTY
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine AS build
ARG TARGETOS TARGETARCH
RUN --mount=type=cache,target=/root/.cache \
    --mount=type=bind,from=example.com/tools:2,target=/tools \
    # a comment inside of it

    GOOS=$TARGETOS GOARCH=${TARGETARCH} go build -o /app .

FROM build AS test
RUN echo "$TARGETARCH" && go test ./...

FROM ${BASE} AS base
FROM base
COPY --from=build /app /app
FROM ${EMPTY:-debian:13} AS other
FROM $EMPTY AS nothing
FROM ${NOT_THERE}
FROM example.com/for-${TARGETARCH}
FROM --platform=${TARGETPLATFORM} scratch
