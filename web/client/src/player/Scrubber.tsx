import type { JSX } from "preact";
import { formatClock } from "../lib/format";
import { useStore } from "../lib/store";
import type { PlayerPool } from "./pool";

/** Position, what is loaded, and moving to another place. */
export function Scrubber({ pool }: { pool: PlayerPool }): JSX.Element {
  const { position, duration, buffered } = useStore(pool.state);
  const share = (seconds: number): string => `${duration > 0 ? Math.min(100, (seconds / duration) * 100) : 0}%`;
  return (
    <div class="scrubber" style={{ "--played": share(position), "--loaded": share(buffered) }}>
      <input
        type="range"
        min={0}
        max={duration || 1}
        step="any"
        value={position}
        disabled={duration === 0}
        aria-label="Position"
        aria-valuetext={`${formatClock(position)} of ${formatClock(duration)}`}
        onInput={(event) => pool.seek(Number(event.currentTarget.value))}
      />
      <span class="scrubber-time tabular" aria-hidden="true">
        {formatClock(position)} / {formatClock(duration)}
      </span>
    </div>
  );
}
