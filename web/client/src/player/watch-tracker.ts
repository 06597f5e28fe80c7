import type { WatchAction } from "../api/types";

export interface WatchStep {
  action: WatchAction;
  /** Seconds really watched so far, paused and skipped time left out. */
  watchSeconds: number;
}

const QUARTERS: readonly [fraction: number, action: WatchAction][] = [
  [0.25, "watch_25"],
  [0.5, "watch_50"],
  [0.75, "watch_75"],
  // The last frame is never exactly at the duration.
  [0.97, "watch_complete"],
];
/** A longer jump between two time updates is a seek, not watching. */
const LONGEST_TICK_SECONDS = 1.5;

/** Turns the positions of one playing video into watch steps (F2, Q20), each at most once. Pure. */
export class WatchTracker {
  private watched = 0;
  private last: number | null = null;
  private started = false;
  private next = 0;

  constructor(private readonly duration: number) {}

  /** Seconds watched so far. */
  get watchSeconds(): number {
    return this.watched;
  }

  /** A position of the playing video, in seconds. A seek counts nothing by itself. */
  at(position: number): WatchStep[] {
    const steps: WatchStep[] = [];
    if (!this.started) {
      this.started = true;
      steps.push(this.step("watch_start"));
    }
    const wrapped = this.wrapped(position);
    const delta = this.last === null ? 0 : position - this.last;
    if (delta > 0 && delta <= LONGEST_TICK_SECONDS) this.watched += delta;
    else if (wrapped) this.watched += Math.max(0, this.duration - this.last!);
    this.last = position;
    const reached = wrapped ? 1 : this.duration > 0 ? position / this.duration : 0;
    while (this.next < QUARTERS.length && reached >= QUARTERS[this.next]![0]) {
      steps.push(this.step(QUARTERS[this.next]![1]));
      this.next += 1;
    }
    return steps;
  }

  /** The person moved: the distance is not watching. */
  seeked(position: number): void {
    this.last = position;
  }

  /** A loop starts again from the end, maybe between two time updates. */
  private wrapped(position: number): boolean {
    if (this.last === null || this.duration <= 0) return false;
    const nearEnd = this.last >= this.duration - LONGEST_TICK_SECONDS;
    return nearEnd && position < this.last && position <= LONGEST_TICK_SECONDS;
  }

  private step(action: WatchAction): WatchStep {
    return { action, watchSeconds: Math.round(this.watched * 1000) / 1000 };
  }
}
