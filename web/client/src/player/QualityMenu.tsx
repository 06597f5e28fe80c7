import type { JSX } from "preact";
import { Check } from "lucide-preact";
import { useStore } from "../lib/store";
import type { PlayerPool } from "./pool";
import { qualityName } from "./qualities";
import type { Quality } from "./qualities";

/** Auto and every rung of this video (Q13); automatic says which rung it is at. */
export function QualityMenu({ pool, onDone }: { pool: PlayerPool; onDone(): void }): JSX.Element {
  const { qualities, quality, side } = useStore(pool.state);
  const offered: Quality[] = ["auto", ...qualities];
  return (
    <div role="group" aria-label="Quality" class="menu-group">
      <p class="menu-title">Quality</p>
      {offered.map((entry) => (
        <button
          key={entry}
          type="button"
          role="menuitemradio"
          aria-checked={entry === quality}
          class="menu-item"
          onClick={() => {
            pool.setQuality(entry);
            onDone();
          }}
        >
          {entry === "auto" ? "Auto" : qualityName(entry)}
          {entry === "auto" && side !== null && <small> · now {qualityName(side)}</small>}
          {entry === quality && <Check size={18} aria-hidden="true" />}
        </button>
      ))}
    </div>
  );
}
