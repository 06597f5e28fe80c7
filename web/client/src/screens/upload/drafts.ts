import { getUploadLimits } from "../../api/endpoints";
import type { Policy, UploadLimits } from "../../api/types";
import { checkDuration, choosePolicy, HEAD_BYTES, MIME, sniffContainer } from "../../lib/file-check";
import { createStore } from "../../lib/store";
import { measureDuration } from "../../uploads/files";
import { enqueue } from "../../uploads/queue";
import type { Fields } from "../../uploads/queue";

/** A chosen file before it is sent: checked against the limits, described by the person. */
export interface Draft {
  key: number;
  file: File;
  mime: string | null;
  policy: Policy;
  fields: Fields;
  /** Why it is refused; null when it may go. */
  refusal: string | null;
}

export const drafts = createStore<readonly Draft[]>([]);
export const limits = createStore<UploadLimits | null>(null);
let lastKey = 0;

export async function loadLimits(): Promise<UploadLimits> {
  const known = limits.get() ?? (await getUploadLimits());
  limits.set(known);
  return known;
}

/** "my_holiday-01.mp4" → "my holiday 01" */
export function titleFromName(name: string, limit: number): string {
  return name
    .replace(/\.[^.]+$/, "")
    .replace(/[_-]+/g, " ")
    .trim()
    .slice(0, limit);
}

async function makeDraft(file: File, allowed: UploadLimits): Promise<Draft> {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const { policy, refusal } = choosePolicy(file.size, head, allowed.items);
  const container = sniffContainer(head);
  const tooLong = refusal === null ? checkDuration(await measureDuration(file), policy) : null;
  lastKey += 1;
  return {
    key: lastKey,
    file,
    mime: container === null ? null : (MIME[container] ?? null),
    policy,
    fields: { title: titleFromName(file.name, allowed.max_title), description: "", tags: "", visibility: "PUBLIC" },
    refusal: refusal?.message ?? tooLong,
  };
}

/** Check files and list them, the refused ones with their reason. */
export async function addFiles(files: readonly File[]): Promise<void> {
  const allowed = await loadLimits();
  const made = await Promise.all(files.map((file) => makeDraft(file, allowed)));
  drafts.update((list) => [...list.filter((draft) => draft.refusal === null), ...made]);
}

export function editDraft(key: number, edit: Partial<Fields>): void {
  drafts.update((list) =>
    list.map((draft) => (draft.key === key ? { ...draft, fields: { ...draft.fields, ...edit } } : draft)),
  );
}

export function removeDraft(key: number): void {
  drafts.update((list) => list.filter((draft) => draft.key !== key));
}

/** Send every draft that may go. */
export async function sendDrafts(): Promise<void> {
  const ready = drafts.get().filter((draft) => draft.refusal === null);
  drafts.update((list) => list.filter((draft) => draft.refusal !== null));
  for (const { file, fields, mime, policy } of ready) await enqueue({ file, fields, mime, policy: policy.name });
}
