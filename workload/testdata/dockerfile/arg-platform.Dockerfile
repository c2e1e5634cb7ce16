ARG PLATFORM=linux/arm64
FROM --platform=$PLATFORM alpine:3.22 AS a
FROM --platform=${NONE} alpine:3.22 AS b
FROM --platform=arm alpine:3.22 AS c
FROM "alpine:3.21"
COPY --from=$IMAGE x y
