import type { JSX } from "preact";
import { Dialog } from "./Dialog";
import "./keyboard-help.css";

const KEYS: readonly [keys: readonly string[], does: string][] = [
  [["J", "↓"], "Next video"],
  [["K", "↑"], "Previous video"],
  [["Space"], "Play or pause"],
  [["←", "→"], "Back or forward 5 seconds"],
  [["M"], "Sound on or off"],
  [["L"], "Like"],
  [["S"], "Save"],
  [["W"], "Why this video"],
  [["F"], "Full screen"],
  [["?"], "This help"],
];

export function KeyboardHelp({ onClose }: { onClose(): void }): JSX.Element {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl class="keys">
        {KEYS.map(([keys, does]) => (
          <div key={does}>
            <dt>{does}</dt>
            <dd>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
