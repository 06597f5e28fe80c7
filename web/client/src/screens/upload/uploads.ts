import { CANCELLED, startUpload } from "../../api/upload";
import type { UploadHandle } from "../../api/upload";
import { getUploadLimits } from "../../api/endpoints";
import { ApiError, explain } from "../../api/errors";
import type { Policy, UploadLimits, Video } from "../../api/types";
import { checkDuration, choosePolicy, HEAD_BYTES } from "../../lib/file-check";
import { createStore } from "../../lib/store";

/** A file on its way to the server. Lives outside the screen: an upload goes on while the person looks around. */
export interface Draft {
  key: number;
  file: File;
  policy: Policy;
  title: string;
  description: string;
  tags: string;
  visibility: string;
  state: "draft" | "refused" | "waiting" | "uploading" | "checking" | "failed" | "done";
  /** Why it is refused or failed. */
  message: string | null;
  sentBytes: number;
  totalBytes: number;
  video: Video | null;
}

export type DraftFields = Pick<Draft, "title" | "description" | "tags" | "visibility">;

export const drafts = createStore<readonly Draft[]>([]);
export const uploadsRunning = createStore(0);
export const limits = createStore<UploadLimits | null>(null);

const handles = new Map<number, UploadHandle>();
let lastKey = 0;

export async function loadLimits(): Promise<UploadLimits> {
  const known = limits.get() ?? (await getUploadLimits());
  limits.set(known);
  return known;
}

export function patchDraft(key: number, change: Partial<Draft>): void {
  drafts.update((list) => list.map((draft) => (draft.key === key ? { ...draft, ...change } : draft)));
}

export function findDraft(key: number): Draft | undefined {
  return drafts.get().find((draft) => draft.key === key);
}

/** "my_holiday-01.mp4" → "my holiday 01" */
export function titleFromName(name: string, limit: number): string {
  return name
    .replace(/\.[^.]+$/, "")
    .replace(/[_-]+/g, " ")
    .trim()
    .slice(0, limit);
}

/** Words of a tag field, without # and repeats. */
export function splitTags(text: string, limit: number): string[] {
  const words = text
    .split(/[\s,]+/)
    .map((word) => word.replace(/^#+/, ""))
    .filter((word) => word !== "");
  return [...new Set(words)].slice(0, limit);
}

/** Seconds a file plays, as far as the browser can tell; null when it cannot. */
function measureDuration(file: File): Promise<number | null> {
  return new Promise((resolve) => {
    const url = URL.createObjectURL(file);
    const video = document.createElement("video");
    const finish = (seconds: number | null): void => {
      clearTimeout(timer);
      video.removeAttribute("src");
      URL.revokeObjectURL(url);
      resolve(seconds);
    };
    const timer = setTimeout(() => finish(null), 3_000);
    video.preload = "metadata";
    video.onloadedmetadata = () => finish(Number.isFinite(video.duration) ? video.duration : null);
    video.onerror = () => finish(null);
    video.src = url;
  });
}

async function makeDraft(file: File, allowed: UploadLimits): Promise<Draft> {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const { policy, refusal } = choosePolicy(file.size, head, allowed.items);
  const tooLong = refusal === null ? checkDuration(await measureDuration(file), policy) : null;
  const message = refusal?.message ?? tooLong;
  lastKey += 1;
  return {
    key: lastKey,
    file,
    policy,
    title: titleFromName(file.name, allowed.max_title),
    description: "",
    tags: "",
    visibility: "PUBLIC",
    state: message === null ? "draft" : "refused",
    message,
    sentBytes: 0,
    totalBytes: file.size,
    video: null,
  };
}

/** Check files and list them, the refused ones with their reason. */
export async function addFiles(files: readonly File[]): Promise<void> {
  const allowed = await loadLimits();
  const made = await Promise.all(files.map((file) => makeDraft(file, allowed)));
  drafts.update((list) => [...list.filter((draft) => draft.state !== "refused"), ...made]);
}

/** Take a file off the list; one that is being sent stops. */
export function removeDraft(key: number): void {
  handles.get(key)?.cancel();
  handles.delete(key);
  drafts.update((list) => list.filter((draft) => draft.key !== key));
}

/** Send every draft that is ready, one after the other: two at once would only share the line. */
export function startUploads(): void {
  for (const draft of drafts.get()) {
    if (draft.state === "draft") patchDraft(draft.key, { state: "waiting", message: null });
  }
  void pump();
}

export function retryUpload(key: number): void {
  patchDraft(key, { state: "waiting", message: null, sentBytes: 0 });
  void pump();
}

async function pump(): Promise<void> {
  if (uploadsRunning.get() > 0) return;
  const next = drafts.get().find((draft) => draft.state === "waiting");
  if (next === undefined) return;
  uploadsRunning.set(1);
  addEventListener("beforeunload", warn);
  try {
    await sendDraft(next);
  } finally {
    removeEventListener("beforeunload", warn);
    uploadsRunning.set(0);
  }
  void pump();
}

/** Closing the page would throw away the bytes already sent. */
function warn(event: BeforeUnloadEvent): void {
  event.preventDefault();
}

async function sendDraft(draft: Draft): Promise<void> {
  const { key } = draft;
  patchDraft(key, { state: "uploading", sentBytes: 0 });
  const fields = {
    title: draft.title.trim(),
    description: draft.description.trim(),
    tags: splitTags(draft.tags, limits.get()?.max_tags ?? 10),
    visibility: draft.visibility,
    policy: draft.policy.name,
  };
  const handle = startUpload(draft.file, fields, (sent, total) => {
    // All bytes are there, the answer is not: the server looks into the file.
    patchDraft(key, { sentBytes: sent, totalBytes: total, state: sent >= total ? "checking" : "uploading" });
  });
  handles.set(key, handle);
  try {
    patchDraft(key, { video: await handle.done, state: "done" });
  } catch (error) {
    const cancelled = error instanceof ApiError && error.code === CANCELLED;
    patchDraft(key, { state: cancelled ? "draft" : "failed", message: cancelled ? null : explain(error), sentBytes: 0 });
  } finally {
    handles.delete(key);
  }
}

export function cancelUpload(key: number): void {
  const draft = findDraft(key);
  if (draft?.state === "waiting") patchDraft(key, { state: "draft" });
  handles.get(key)?.cancel();
}
