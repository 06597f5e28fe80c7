import { ApiError, explain } from "../api/errors";
import { session } from "../api/session";
import { finishUpload, getUpload, moveUpload, openUpload, sendPart } from "../api/uploads";
import { createStore } from "../lib/store";
import { differs, hashEnds, markFile } from "./files";
import type { FileMark } from "./files";
import { isGoing, may, newUpload, step } from "./machine";
import type { Action, Event, Refusal, Upload, Wish } from "./machine";
import { Runner } from "./runner";
import { forget, keepFile, keepItem, keptFile, keptItems } from "./shelf";

/** What a person says of a video; editable until the last byte is there. */
export interface Fields {
  title: string;
  description: string;
  tags: string;
  visibility: string;
}

/** An upload with its file and its words. */
export interface Item {
  readonly key: string;
  readonly userId: string;
  readonly createdAt: number;
  readonly mark: FileMark;
  readonly mime: string | null;
  readonly policy: string;
  readonly fields: Fields;
  readonly upload: Upload;
  /** Null in a new page until it is found again. */
  readonly file: File | null;
}

type Word =
  | { kind: "changed"; item: Item }
  | { kind: "gone"; key: string }
  | { kind: "ask"; key: string; event: Event }
  | { kind: "fields"; key: string; fields: Fields };

/** All uploads of this browser, oldest first. */
export const uploads = createStore<readonly Item[]>([]);
/** False while another tab sends: one uploader a browser, or parts would go twice. */
export const sendingHere = createStore(true);
export const online = createStore(typeof navigator === "undefined" ? true : navigator.onLine);

const LOCK = "freewill.uploads";
const TOLD_EVERY_MS = 200;

const runners = new Map<string, Runner>();
let channel: BroadcastChannel | null = null;
let lane: Promise<void> | null = null;
let started: Promise<void> | null = null;
let saidAt = 0;

export function findUpload(key: string): Item | undefined {
  return uploads.get().find((item) => item.key === key);
}

function put(item: Item): void {
  uploads.update((list) => {
    const known = list.some(({ key }) => key === item.key);
    const all = known ? list.map((old) => (old.key === item.key ? item : old)) : [...list, item];
    return known ? all : all.sort((a, b) => a.createdAt - b.createdAt);
  });
}

function drop(key: string): void {
  runners.get(key)?.drop();
  runners.delete(key);
  uploads.update((list) => list.filter((item) => item.key !== key));
}

const say = (word: Word): void => channel?.postMessage(word);

/** Remember a change, and show it to the other tabs. Bytes under way are shown only, and not each of them. */
function change(item: Item, brief = false): void {
  put(item);
  if (brief && performance.now() - saidAt < TOLD_EVERY_MS) return;
  saidAt = performance.now();
  say({ kind: "changed", item });
  if (brief) return;
  const { phase, sessionId } = item.upload;
  if (phase === "COMPLETED" || (phase === "CANCELED" && sessionId === null)) void forget(item.key);
  else void keepItem(item);
}

function apply(key: string, event: Event): void {
  const item = findUpload(key);
  if (item === undefined) return;
  const upload = step(item.upload, event);
  if (upload !== item.upload) change({ ...item, upload }, event.on === "sending");
  if (upload.phase === "CANCELED" && upload.sessionId === null) {
    drop(key);
    say({ kind: "gone", key });
  }
}

function refusal(error: unknown): Refusal {
  if (!(error instanceof ApiError)) return { code: "UNKNOWN", status: -1, message: explain(error), details: {} };
  return { code: error.code, status: error.status, message: explain(error), details: error.details };
}

async function perform(key: string, action: Action, signal: AbortSignal): Promise<Event> {
  try {
    return await attempt(key, action, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return { on: "refused", during: action.do, error: refusal(error), dice: Math.random() };
  }
}

async function attempt(key: string, action: Action, signal: AbortSignal): Promise<Event> {
  const item = findUpload(key);
  if (item === undefined) throw new DOMException("gone", "AbortError");
  switch (action.do) {
    case "open": {
      const { mark, mime, policy } = item;
      const opened = await openUpload({ filename: mark.name, size: mark.size, mime, policy });
      return { on: "opened", sessionId: opened.session_id, partSize: opened.chunk_size };
    }
    case "look":
      return asSeen(await getUpload(action.sessionId, signal));
    case "pause":
    case "resume":
    case "cancel":
      return asSeen(await moveUpload(action.sessionId, action.do));
    case "send":
      return await send(item, action, signal);
    case "finish": {
      const { title, description, tags, visibility } = item.fields;
      const words = { title: title.trim() || item.mark.name, description: description.trim(), tags: splitTags(tags), visibility };
      return { on: "finished", videoId: (await finishUpload(action.sessionId, words)).id };
    }
    case "wait":
      await sleep(action.ms, signal);
      return { on: "waited" };
  }
}

function asSeen(seen: Awaited<ReturnType<typeof getUpload>>): Event {
  return { on: "seen", state: seen.state, received: seen.received_chunks, failCode: seen.fail_code };
}

async function send(item: Item, action: Extract<Action, { do: "send" }>, signal: AbortSignal): Promise<Event> {
  let bytes: ArrayBuffer;
  try {
    if (item.file === null) return { on: "unreadable" };
    // Read first: a file that was moved or changed would look like a broken line otherwise.
    bytes = await item.file.slice(action.start, action.end).arrayBuffer();
  } catch {
    return { on: "unreadable" };
  }
  signal.throwIfAborted();
  await sendPart(action.sessionId, action.number, bytes, signal, (sent) => {
    if (!signal.aborted) apply(item.key, { on: "sending", bytes: Math.min(sent, bytes.byteLength) });
  });
  return { on: "arrived", number: action.number };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}

/** Words of a tag field, without # and repeats. */
export function splitTags(text: string, limit = 10): string[] {
  const words = text
    .split(/[\s,]+/)
    .map((word) => word.replace(/^#+/, ""))
    .filter((word) => word !== "");
  return [...new Set(words)].slice(0, limit);
}

function runnerOf(key: string): Runner {
  const known = runners.get(key);
  if (known !== undefined) return known;
  const runner = new Runner({
    get: () => findUpload(key)?.upload ?? { ...newUpload(0), phase: "COMPLETED" },
    apply: (event) => apply(key, event),
    perform: (action, signal) => perform(key, action, signal),
  });
  runners.set(key, runner);
  return runner;
}

function nextWaiting(): Item | undefined {
  const userId = session.get()?.user.id;
  return uploads.get().find(({ upload, userId: owner }) => owner === userId && (upload.phase === "WAITING" || isGoing(upload)));
}

/** Send one upload after the other: two at once would only share the line. */
function pump(): void {
  if (!sendingHere.get() || lane !== null) return;
  const work = async (): Promise<void> => {
    for (let item = nextWaiting(); item !== undefined; item = nextWaiting()) {
      apply(item.key, { on: "start" });
      await runnerOf(item.key).run();
    }
  };
  lane = work().finally(() => {
    lane = null;
  });
}

/** Say something of an upload, to whichever tab sends it. */
function tell(key: string, event: Event): void {
  if (!sendingHere.get()) return say({ kind: "ask", key, event });
  runnerOf(key).tell(event);
  pump();
  const { phase } = findUpload(key)?.upload ?? {};
  // What is paused or cancelled leaves the lane; the server hears it beside the next upload.
  if (phase === "PAUSED" || phase === "CANCELED") void runnerOf(key).run();
}

/** Do what a button says, when the table allows it. */
export function wish(key: string, what: Wish): void {
  const item = findUpload(key);
  if (item !== undefined && may(item.upload, what)) tell(key, { on: what });
}

export function editFields(key: string, edit: Partial<Fields>): void {
  const item = findUpload(key);
  if (item === undefined) return;
  const fields = { ...item.fields, ...edit };
  if (sendingHere.get()) change({ ...item, fields });
  else {
    put({ ...item, fields });
    say({ kind: "fields", key, fields });
  }
}

/** Take a file for an upload that lost its own; answers why not, when it is another one. */
export async function giveFile(key: string, file: File): Promise<string | null> {
  const item = findUpload(key);
  if (item === undefined) return null;
  const problem = differs(item.mark, await markFile(file));
  if (problem !== null) return problem;
  void keepFile(key, file);
  const found = { ...item, file };
  put(found);
  if (!sendingHere.get()) say({ kind: "changed", item: found });
  tell(key, { on: "file" });
  return null;
}

/** A finished one leaves the list; nothing else changes. */
export function dismiss(key: string): void {
  drop(key);
  say({ kind: "gone", key });
  void forget(key);
}

export type NewUpload = Pick<Item, "fields" | "mime" | "policy"> & { file: File };

/** Put a file into the line. */
export async function enqueue({ file, fields, mime, policy }: NewUpload): Promise<void> {
  const user = session.get()?.user;
  if (user === undefined) return;
  const mark = { name: file.name, size: file.size, ends: await hashEnds(file).catch(() => null) };
  const item: Item = {
    key: randomKey(),
    userId: user.id,
    createdAt: Date.now(),
    mark,
    mime,
    policy,
    fields,
    upload: newUpload(file.size),
    file,
  };
  change(item);
  void keepFile(item.key, file);
  pump();
}

function randomKey(): string {
  // randomUUID is missing where the page is not of a secure origin.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function hear({ data }: MessageEvent<Word>): void {
  switch (data.kind) {
    case "gone":
      return drop(data.key);
    case "ask":
      return sendingHere.get() ? tell(data.key, data.event) : undefined;
    case "fields":
      return sendingHere.get() ? editFields(data.key, data.fields) : undefined;
    case "changed": {
      const known = findUpload(data.item.key);
      // The file of this page is as good as the other's, and a page keeps what it can read.
      put({ ...data.item, file: known?.file ?? data.item.file });
      if (sendingHere.get()) pump();
    }
  }
}

/** This tab sends from now on: take up what any tab left behind. */
async function takeOver(): Promise<void> {
  for (const kept of await keptItems()) {
    const known = findUpload(kept.key);
    const file = known?.file ?? (await keptFile(kept.key));
    put({ ...kept, file, upload: step(kept.upload, { on: "restored" }) });
    if (file === null) apply(kept.key, { on: "unreadable" });
    if (kept.upload.phase === "CANCELED") void runnerOf(kept.key).run();
  }
  sendingHere.set(true);
  pump();
}

async function showKept(): Promise<void> {
  for (const kept of await keptItems()) if (findUpload(kept.key) === undefined) put({ ...kept, file: null });
}

function hurry(): void {
  online.set(navigator.onLine);
  if (navigator.onLine) for (const runner of runners.values()) runner.hurry();
}

/** Closing the page stops what is on its way, though nothing that arrived is lost. */
function warn(event: BeforeUnloadEvent): void {
  if (sendingHere.get() && uploads.get().some(({ upload }) => isGoing(upload))) event.preventDefault();
}

async function lead(): Promise<void> {
  if (navigator.locks === undefined) return takeOver();
  sendingHere.set(false);
  await new Promise<void>((resolve) => {
    void navigator.locks.request(LOCK, { ifAvailable: true }, async (lock) => {
      if (lock === null) {
        void showKept().then(resolve);
        // Held until the page ends; comes when the tab before us is closed.
        void navigator.locks.request(LOCK, () => takeOver().then(() => new Promise<never>(() => undefined)));
        return;
      }
      await takeOver();
      resolve();
      await new Promise<never>(() => undefined);
    });
  });
}

/** Take up what was left behind, here or in the tab that sends. Once a page. */
export function startUploads(): Promise<void> {
  started ??= (async () => {
    channel = new BroadcastChannel("freewill.uploads");
    channel.onmessage = hear;
    addEventListener("online", hurry);
    addEventListener("offline", hurry);
    addEventListener("visibilitychange", hurry);
    addEventListener("beforeunload", warn);
    session.subscribe(pump);
    await lead();
  })();
  return started;
}
