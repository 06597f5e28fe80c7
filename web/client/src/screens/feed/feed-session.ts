import { getFeed } from "../../api/endpoints";
import { explain } from "../../api/errors";
import type { FeedItem } from "../../api/types";
import { createStore } from "../../lib/store";
import { flushEvents } from "../../player/event-queue";

export interface FeedState {
  items: readonly FeedItem[];
  status: "loading" | "ready" | "error" | "end";
  error: string | null;
  /** The server fell back on a simpler way of choosing (O33). */
  degraded: boolean;
}

const PAGE = 10;
const START: FeedState = { items: [], status: "loading", error: null, degraded: false };

/** One walk through the feed: pages in order, nothing twice, always chosen after the latest events. */
export class FeedSession {
  readonly state = createStore<FeedState>(START);
  private cursor: string | null = null;
  private readonly known = new Set<string>();
  private abort: AbortController | null = null;

  /** Fetch the next page unless one is under way or the feed has ended. */
  async loadMore(): Promise<void> {
    if (this.abort !== null || this.state.get().status === "end") return;
    const abort = new AbortController();
    this.abort = abort;
    this.state.update((state) => ({ ...state, status: "loading", error: null }));
    try {
      // What was watched so far decides what comes next.
      await flushEvents();
      const page = await getFeed(this.cursor, PAGE, abort.signal);
      this.cursor = page.next_cursor;
      const fresh = page.items.filter((item) => !this.known.has(item.id));
      for (const item of fresh) this.known.add(item.id);
      this.state.update((state) => ({
        items: [...state.items, ...fresh],
        status: page.next_cursor === null ? "end" : "ready",
        error: null,
        degraded: page.degraded,
      }));
    } catch (error) {
      if (abort.signal.aborted) return;
      this.state.update((state) => ({ ...state, status: "error", error: explain(error) }));
    } finally {
      if (this.abort === abort) this.abort = null;
    }
  }

  /** Start over from the first page. */
  restart(): void {
    this.close();
    this.cursor = null;
    this.known.clear();
    this.state.set(START);
    void this.loadMore();
  }

  close(): void {
    this.abort?.abort();
    this.abort = null;
  }

  patch(id: string, change: Partial<FeedItem>): void {
    this.state.update((state) => ({
      ...state,
      items: state.items.map((item) => (item.id === id ? { ...item, ...change } : item)),
    }));
  }

  /** Take an item out; the returned function puts it back where it was. */
  remove(id: string): () => void {
    const index = this.state.get().items.findIndex((item) => item.id === id);
    const item = this.state.get().items[index];
    if (item === undefined) return () => undefined;
    this.state.update((state) => ({ ...state, items: state.items.filter((other) => other.id !== id) }));
    return () =>
      this.state.update((state) => ({
        ...state,
        items: [...state.items.slice(0, index), item, ...state.items.slice(index)],
      }));
  }
}
