FROM --platform=$BUILDPLATFORM node:24
WORKDIR /app
COPY --from=example.com/assets:1 / /assets
CMD ["node", "server.js"]
