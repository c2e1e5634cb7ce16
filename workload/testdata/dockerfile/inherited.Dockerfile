FROM --platform=${BUILDPLATFORM} golang:1.26 AS build
RUN TARGETARCH=$(uname -m) && echo $TARGETARCH
FROM build
ENV GOARCH=arm64
RUN wget https://example.com/a-amd64 https://example.com/a-arm64
RUN case $(uname -m) in x86_64) wget https://example.com/b-amd64;; esac
