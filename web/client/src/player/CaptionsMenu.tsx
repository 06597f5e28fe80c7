import type { JSX } from "preact";
import { Check } from "lucide-preact";
import { choose, preferences } from "../lib/preferences";
import { useStore } from "../lib/store";
import type { CaptionsChoice } from "./captions";

const CHOICES: readonly [CaptionsChoice, string][] = [
  ["muted", "While the sound is off"],
  ["on", "Always"],
  ["off", "Never"],
];

/** When captions show (Y6); kept on this device. */
export function CaptionsMenu({ onDone }: { onDone(): void }): JSX.Element {
  const { captions } = useStore(preferences);
  return (
    <div role="group" aria-label="Captions" class="menu-group">
      <p class="menu-title">Captions</p>
      {CHOICES.map(([entry, label]) => (
        <button
          key={entry}
          type="button"
          role="menuitemradio"
          aria-checked={entry === captions}
          class="menu-item"
          onClick={() => {
            choose({ captions: entry });
            onDone();
          }}
        >
          {label}
          {entry === captions && <Check size={18} aria-hidden="true" />}
        </button>
      ))}
    </div>
  );
}
