import type { Action, Event, Upload } from "./machine";
import { next } from "./machine";

/** The hands of the machine: one upload's file, fields and line to the server. */
export interface Hands {
  get(): Upload;
  apply(event: Event): void;
  /** Do it; whatever goes wrong is an event, too. Rejects only when `signal` aborted it. */
  perform(action: Action, signal: AbortSignal): Promise<Event>;
}

/** These end at once when the person says something else; the others are short, and their answers count. */
const BREAKABLE: ReadonlySet<Action["do"]> = new Set(["send", "wait", "look"]);

/** Does what the machine says, one thing at a time, until there is nothing to do. */
export class Runner {
  private current: { kind: Action["do"]; abort: AbortController } | null = null;
  private running: Promise<void> | null = null;

  constructor(private readonly hands: Hands) {}

  /** Start, or join the run under way. */
  run(): Promise<void> {
    this.running ??= this.loop().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  /** The person, the network or another tab says something. */
  tell(event: Event): void {
    const before = this.hands.get();
    this.hands.apply(event);
    const breakable = this.current !== null && BREAKABLE.has(this.current.kind);
    if (breakable && this.hands.get() !== before) this.current?.abort.abort();
  }

  /** Try now instead of later: the network came back. */
  hurry(): void {
    if (this.current?.kind === "wait") this.tell({ on: "waited" });
  }

  /** End what is under way without a word to the machine. */
  drop(): void {
    this.current?.abort.abort();
  }

  private async loop(): Promise<void> {
    for (let action = next(this.hands.get()); action !== null; action = next(this.hands.get())) {
      const abort = new AbortController();
      this.current = { kind: action.do, abort };
      try {
        const event = await this.hands.perform(action, abort.signal);
        if (!abort.signal.aborted) this.hands.apply(event);
      } catch (error) {
        if (!abort.signal.aborted) throw error;
      } finally {
        this.current = null;
      }
    }
  }
}
