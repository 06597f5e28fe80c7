import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds the API; the built client is served by the same origin as the API. */
const api = process.env.FREEWILL_API_ORIGIN ?? "http://127.0.0.1:8080";

export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    target: "es2022",
    // Inlined data: URLs would be fine for images, but hashed files are cached for good.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
  },
  server: {
    port: 5173,
    proxy: {
      "/api": { target: api, ws: true },
      "/media": { target: api },
    },
  },
  test: { environment: "node", include: ["test/**/*.test.ts"] },
});
