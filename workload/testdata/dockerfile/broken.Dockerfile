WORKDIR /early
FROM alpine:3.22 AS
FROM
FORM alpine:3.21
