import { createStore } from "../lib/store";

/** A short message with at most one action. */
export interface Toast {
  id: number;
  text: string;
  action?: { label: string; run(): void };
}

const SHOWN_MS = 3_500;
/** An action needs time to be read and reached. */
const SHOWN_WITH_ACTION_MS = 6_000;

export const toasts = createStore<readonly Toast[]>([]);
let lastId = 0;

export function dismiss(id: number): void {
  toasts.update((list) => list.filter((toast) => toast.id !== id));
}

/** Show a message; with an action it stays longer. `onGone` hears when it was not acted upon. */
export function toast(text: string, action?: Toast["action"], onGone?: () => void): void {
  lastId += 1;
  const id = lastId;
  let acted = false;
  const shown: Toast = { id, text };
  if (action) {
    shown.action = {
      label: action.label,
      run() {
        acted = true;
        dismiss(id);
        action.run();
      },
    };
  }
  // One at a time with an action: two "Undo" buttons would be a riddle.
  toasts.update((list) => [...list.filter((other) => !other.action).slice(-1), shown]);
  const finish = (): void => {
    dismiss(id);
    if (!acted) onGone?.();
  };
  setTimeout(finish, action ? SHOWN_WITH_ACTION_MS : SHOWN_MS);
}
