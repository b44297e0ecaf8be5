# Tidemark's image: docker compose builds it. The Node that runs it is the one that package.json pins; it runs as a plain user, and keeps what the
# embedded engines need (in profiles without HDFS, the lake) in /data.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev
COPY . .
RUN node serving/dashboard/build.ts

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production TIDEMARK_DATA=/data
WORKDIR /app
COPY --from=build /app /app
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=12 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=8", "--disable-warning=TimeoutNegativeWarning", "cli/main.ts"]
CMD ["up", "--no-demo"]
