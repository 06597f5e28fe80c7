import type { JSX } from "preact";
import { useStore } from "../lib/store";
import { toasts } from "./toasts";

/** The live region of the page: what happened, said once. */
export function Toasts(): JSX.Element {
  const list = useStore(toasts);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {list.map((item) => (
        <div class="toast" key={item.id}>
          <span>{item.text}</span>
          {item.action && (
            <button type="button" onClick={item.action.run}>
              {item.action.label}
            </button>
          )}
        </div>
      ))}
    </div>
  );
}
