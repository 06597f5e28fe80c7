import { createStore } from "../lib/store";
import { freshToken } from "./http";
import { session } from "./session";
import type { VideoStatus } from "./types";

/** Frames of `/api/v1/ws/notifications` that this client acts on (I1, I2, I7). */
export type Frame =
  | { event: "video_status"; data: { video_id: string; status: VideoStatus; fail_code?: string; fail_reason?: string } }
  | { event: "video_progress"; data: { video_id: string; progress: number | null; stage: string | null } };

/** True while pushes arrive; false is the sign to poll instead (Q12). */
export const connected = createStore(false);

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

const listeners = new Set<(frame: Frame) => void>();
let socket: WebSocket | null = null;
let failures = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Hear every frame until the returned function is called; the connection lives while someone listens. */
export function listen(listener: (frame: Frame) => void): () => void {
  listeners.add(listener);
  void connect();
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) disconnect();
  };
}

function disconnect(): void {
  clearTimeout(timer);
  const closing = socket;
  socket = null;
  closing?.close();
  connected.set(false);
}

async function connect(): Promise<void> {
  clearTimeout(timer);
  if (socket !== null || listeners.size === 0 || session.get() === null) return;
  const token = await freshToken().catch(() => null);
  if (token === null) return retryLater();
  if (socket !== null || listeners.size === 0) return;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(
    `${scheme}//${location.host}/api/v1/ws/notifications?token=${encodeURIComponent(token)}`,
  );
  socket = opened;
  opened.onopen = () => {
    failures = 0;
    connected.set(true);
  };
  opened.onmessage = (message) => dispatch(message.data);
  opened.onclose = () => {
    if (socket !== opened) return;
    socket = null;
    connected.set(false);
    retryLater();
  };
}

function retryLater(): void {
  if (listeners.size === 0 || session.get() === null) return;
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures);
  failures += 1;
  timer = setTimeout(() => void connect(), wait);
}

function dispatch(text: unknown): void {
  let frame: Frame;
  try {
    frame = JSON.parse(String(text)) as Frame;
  } catch {
    return;
  }
  for (const listener of [...listeners]) listener(frame);
}

/** Signing in opens the connection, signing out closes it, another account needs another one. */
export function followAccount(): void {
  let userId = session.get()?.user.id;
  session.subscribe((next) => {
    if (next?.user.id === userId) return;
    userId = next?.user.id;
    disconnect();
    void connect();
  });
}
