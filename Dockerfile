FROM node:20-bookworm-slim AS client
WORKDIR /client
COPY web/client/package.json web/client/package-lock.json web/client/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web/client ./
RUN npm run build

FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY . .
COPY --from=client /client/dist web/client/dist
RUN pip install --no-cache-dir --editable '.[cluster]' && useradd --create-home freewill && install -d -o freewill /data /secrets
USER freewill
VOLUME /data
EXPOSE 8080
CMD ["freewill", "serve"]
