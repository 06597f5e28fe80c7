import { networkError, parseError } from "./errors";
import { call, freshToken } from "./http";
import type { ChunkedSession, UploadSession, Video } from "./types";

/** Size of a part, unless the file needs more than `MOST_PARTS` of them (A31). */
export const PART_BYTES = 5 * 1024 * 1024;
const MOST_PARTS = 10_000;

const at = (sessionId: string, what = ""): string => `/api/v1/uploads/${encodeURIComponent(sessionId)}${what}`;

export interface Announcement {
  filename: string;
  size: number;
  mime: string | null;
  policy: string;
}

/** Sessions whose parts go to our own origin: no other host to trust, and the words about it are said last. */
export function openUpload({ filename, size, mime, policy }: Announcement): Promise<ChunkedSession> {
  const total_chunks = Math.min(MOST_PARTS, Math.ceil(size / PART_BYTES));
  return call("POST", "/api/v1/uploads", { body: { filename, file_size: size, total_chunks, mime, policy } });
}

export const getUpload = (sessionId: string, signal: AbortSignal): Promise<UploadSession> =>
  call("GET", at(sessionId), { signal });

export const moveUpload = (sessionId: string, move: "pause" | "resume" | "cancel"): Promise<UploadSession> =>
  call("POST", at(sessionId, `/${move}`));

export interface Words {
  title: string;
  description: string;
  tags: readonly string[];
  visibility: string;
}

export const finishUpload = (sessionId: string, words: Words): Promise<Video> =>
  call("POST", at(sessionId, "/finalize"), { body: words });

/** Nothing has moved for this long: the line is dead. What waits in the system's own buffer makes no events. */
const SILENCE_MS = 120_000;

/** XMLHttpRequest and not fetch: only it tells how many bytes have left (Q4). */
function putBytes(url: string, bytes: ArrayBuffer, token: string | null, signal: AbortSignal, onBytes: (sent: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    let silence: ReturnType<typeof setTimeout> | undefined;
    const hear = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => xhr.abort(), SILENCE_MS);
    };
    const stop = (): void => xhr.abort();
    xhr.open("PUT", url);
    xhr.responseType = "json";
    xhr.setRequestHeader("Content-Type", "application/octet-stream");
    if (token !== null) xhr.setRequestHeader("Authorization", `Bearer ${token}`);
    xhr.upload.onprogress = (event) => {
      hear();
      onBytes(event.loaded);
    };
    xhr.onload = () => (xhr.status >= 200 && xhr.status < 300 ? resolve() : reject(parseError(xhr.status, xhr.response)));
    xhr.onerror = () => reject(networkError());
    xhr.onabort = () => reject(signal.aborted ? new DOMException("stopped", "AbortError") : networkError());
    xhr.onloadend = () => {
      clearTimeout(silence);
      signal.removeEventListener("abort", stop);
    };
    signal.addEventListener("abort", stop);
    hear();
    xhr.send(bytes);
  });
}

/** Send one part; `onBytes` hears how many of its bytes have left. Rejects with AbortError when stopped. */
export async function sendPart(
  sessionId: string,
  number: number,
  bytes: ArrayBuffer,
  signal: AbortSignal,
  onBytes: (sent: number) => void,
): Promise<void> {
  const token = await freshToken();
  signal.throwIfAborted();
  await putBytes(at(sessionId, `/chunks/${number}`), bytes, token, signal, onBytes);
}
