import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, gzip } from "node:zlib";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds the API; the built client is served by the same origin as the API. */
const api = process.env.FREEWILL_API_ORIGIN ?? "http://127.0.0.1:8080";

const COMPRESSIBLE = /\.(js|css|svg|webmanifest)$/;

/** Put .gz and .br beside every text file: the server hands them out without compressing anything itself. */
function precompress(): Plugin {
  return {
    name: "precompress",
    apply: "build",
    async writeBundle({ dir }) {
      if (dir === undefined) return;
      const names = await readdir(dir, { recursive: true });
      await Promise.all(
        names.filter((name) => COMPRESSIBLE.test(name)).map(async (name) => {
          const path = join(dir, name);
          const bytes = await readFile(path);
          await writeFile(`${path}.gz`, await promisify(gzip)(bytes, { level: 9 }));
          await writeFile(`${path}.br`, await promisify(brotliCompress)(bytes));
        }),
      );
    },
  };
}

export default defineConfig({
  plugins: [precompress()],
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
