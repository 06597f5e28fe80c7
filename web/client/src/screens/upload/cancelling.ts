import { createStore } from "../../lib/store";
import { toast } from "../../ui/toasts";
import { may } from "../../uploads/machine";
import { wish } from "../../uploads/queue";
import type { Item } from "../../uploads/queue";

/** Cancelled uploads whose undo is still open. */
export const hidden = createStore<ReadonlySet<string>>(new Set());

function hide(key: string, yes: boolean): void {
  hidden.update((keys) => new Set(yes ? [...keys, key] : [...keys].filter((other) => other !== key)));
}

/** Cancelling throws bytes away: at first it only pauses, so that it can be undone. */
export function cancelWithUndo({ key, upload, fields }: Item): void {
  const wasGoing = may(upload, "pause");
  wish(key, "pause");
  hide(key, true);
  const undo = (): void => {
    hide(key, false);
    if (wasGoing) wish(key, "resume");
  };
  toast(`“${fields.title}” is cancelled.`, { label: "Undo", run: undo }, () => {
    hide(key, false);
    wish(key, "cancel");
  });
}
