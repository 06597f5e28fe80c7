import { sendEvents } from "../api/endpoints";
import { ApiError } from "../api/errors";
import { session } from "../api/session";
import type { WatchEvent } from "../api/types";
import { readJson, writeJson } from "../lib/storage";

/**
 * Watch events on their way: batched, retried, kept over a reload. An event keeps its id on every try,
 * so a batch that arrived without an answer is not counted twice.
 */
const KEY = "freewill.events";
const SEND_AFTER_MS = 4_000;
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 60_000;
/** A keepalive request may carry 64 kB; an event has about 250 bytes. */
const BATCH = 100;
const KEPT = 500;

interface Kept {
  userId: string;
  events: WatchEvent[];
}

let pending: WatchEvent[] = [];
let sending: Promise<void> | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
let failures = 0;

function persist(): void {
  const userId = session.get()?.user.id;
  writeJson(KEY, userId === undefined || pending.length === 0 ? null : { userId, events: pending });
}

function schedule(delayMs: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => void flushEvents(), delayMs);
}

/** Take an event for sending; without an account there is nobody to count it for. */
export function queueEvent(event: WatchEvent): void {
  if (session.get() === null) return;
  pending = [...pending, event].slice(-KEPT);
  persist();
  if (failures === 0) schedule(SEND_AFTER_MS);
}

async function sendBatch(keepalive: boolean): Promise<void> {
  const batch = pending.slice(0, BATCH);
  if (batch.length === 0 || session.get() === null) return;
  try {
    await sendEvents(batch, keepalive);
    failures = 0;
  } catch (error) {
    const refused = error instanceof ApiError && error.status >= 400 && error.status < 500;
    if (!refused || error.status === 429 || error.status === 401) {
      failures += 1;
      schedule(Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1)));
      return;
    }
    // The server will never take this batch: sending it again would only block the next ones.
  }
  const sent = new Set(batch.map((event) => event.event_id));
  pending = pending.filter((event) => !sent.has(event.event_id));
  persist();
}

/** Send what waits, and resolve when the try is over, whatever its outcome. */
export async function flushEvents(keepalive = false): Promise<void> {
  clearTimeout(timer);
  if (sending !== null && !keepalive) return sending;
  sending = sendBatch(keepalive).finally(() => {
    sending = null;
    if (pending.length > 0 && failures === 0) schedule(SEND_AFTER_MS);
  });
  return sending;
}

/** Send what an earlier page left behind, and flush when this one goes away. */
export function startEventQueue(): void {
  const kept = readJson<Kept>(KEY);
  if (kept !== null && kept.userId === session.get()?.user.id) {
    pending = kept.events;
    schedule(SEND_AFTER_MS);
  }
  let userId = session.get()?.user.id;
  session.subscribe((next) => {
    if (next?.user.id === userId) return;
    userId = next?.user.id;
    pending = [];
    persist();
  });
  addEventListener("pagehide", () => void flushEvents(true));
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") void flushEvents(true);
  });
  addEventListener("online", () => void flushEvents());
}
