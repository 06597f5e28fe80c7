import { getVideo } from "../api/endpoints";
import { preferences } from "../lib/preferences";
import { createStore } from "../lib/store";
import type { Source } from "./engine";
import { queueEvent } from "./event-queue";
import { assignSlots, planWindow } from "./pool-plan";
import type { Direction } from "./pool-plan";
import { qualityName } from "./qualities";
import type { Quality } from "./qualities";
import { Slot } from "./slot";
import type { WatchStep } from "./watch-tracker";

/** What the controls of the active video show. */
export interface PlayerState {
  sourceId: string | null;
  playing: boolean;
  buffering: boolean;
  muted: boolean;
  error: string | null;
  position: number;
  duration: number;
  /** Seconds loaded ahead of the start. */
  buffered: number;
  qualities: readonly number[];
  /** Short side of the picture now playing. */
  side: number | null;
  quality: Quality;
}

const IDLE: PlayerState = {
  sourceId: null,
  playing: false,
  buffering: false,
  muted: true,
  error: null,
  position: 0,
  duration: 0,
  buffered: 0,
  qualities: [],
  side: null,
  quality: "auto",
};

/** A few video elements that serve any number of slides; memory does not grow with swipes. */
export class PlayerPool {
  readonly state = createStore<PlayerState>(IDLE);
  private readonly slots: Slot[];
  private activeId: string | null = null;
  private sources: ReadonlyMap<string, Source> = new Map();
  private quality: Quality = "auto";
  private readonly unsubscribe: () => void;

  constructor(size = 3) {
    const events = {
      onChange: (slot: Slot) => this.onChange(slot),
      onWatch: (id: string, step: WatchStep, side: number | null) => reportWatch(id, step, side),
    };
    this.slots = Array.from({ length: size }, () => new Slot(events));
    this.unsubscribe = preferences.subscribe((next) => {
      for (const slot of this.slots) slot.setQuality(this.quality, next.saver);
      const active = this.active();
      if (active) active.element.muted = !next.sound;
      for (const slot of this.slots) slot.applyCaptions();
    });
    document.addEventListener("visibilitychange", this.onVisibility);
  }

  /** Make `index` the active slide: play it, prepare the ones around it, recycle the rest. */
  show(sources: readonly Source[], index: number, direction: Direction, host: (id: string) => HTMLElement | null): void {
    this.sources = new Map(sources.map((source) => [source.id, source]));
    const wanted = planWindow(index, direction, sources.length, this.slots.length).map((i) => sources[i]!.id);
    const before = this.activeId;
    this.activeId = sources[index]?.id ?? null;
    const next = assignSlots(this.slots.map((slot) => slot.sourceId), wanted);
    this.slots.forEach((slot, i) => this.place(slot, next[i] ?? null, host));
    this.slots.forEach((slot) => this.markActive(slot));
    const active = this.active();
    if (active && (before !== this.activeId || this.state.get().sourceId !== this.activeId)) this.play();
    if (active) this.onChange(active);
    else this.state.set({ ...IDLE, quality: this.quality });
  }

  private place(slot: Slot, id: string | null, host: (id: string) => HTMLElement | null): void {
    const target = id === null ? null : host(id);
    const source = id === null ? undefined : this.sources.get(id);
    if (id === null || target === null || source === undefined) {
      if (slot.sourceId !== null) slot.release();
      return;
    }
    if (slot.sourceId !== id) {
      slot.assign(source, target);
      slot.setQuality(this.quality, preferences.get().saver);
    } else if (slot.element.parentElement !== target) target.append(slot.element);
  }

  private markActive(slot: Slot): void {
    const isActive = slot.sourceId !== null && slot.sourceId === this.activeId;
    if (isActive) slot.element.dataset.testid = "feed-video";
    else {
      delete slot.element.dataset.testid;
      if (slot.sourceId !== null) slot.park();
    }
  }

  private active(): Slot | undefined {
    return this.slots.find((slot) => slot.sourceId !== null && slot.sourceId === this.activeId);
  }

  play(): void {
    if (document.visibilityState === "hidden") return;
    const slot = this.active();
    if (slot) void slot.play(preferences.get().sound).then(() => this.onChange(slot));
  }

  pause(): void {
    this.active()?.pause();
  }

  toggle(): void {
    if (this.state.get().playing) this.pause();
    else this.play();
  }

  seek(position: number): void {
    this.active()?.seek(position);
  }

  seekBy(seconds: number): void {
    this.seek(this.state.get().position + seconds);
  }

  setQuality(quality: Quality): void {
    this.quality = quality;
    for (const slot of this.slots) slot.setQuality(quality, preferences.get().saver);
    this.state.update((state) => ({ ...state, quality }));
  }

  /** After an error: the same video from the start, with new addresses, as signed ones end. */
  async retry(): Promise<void> {
    const id = this.activeId;
    const known = id === null ? undefined : this.sources.get(id);
    if (id === null || known === undefined) return;
    const fresh = await getVideo(id).catch(() => null);
    const source = fresh === null ? known : { id, hlsUrl: fresh.playback.hls_url, mp4Url: fresh.playback.mp4_url };
    const slot = this.active();
    const host = slot?.element.parentElement;
    if (this.activeId !== id || !slot || !host) return;
    slot.assign(source, host);
    slot.setQuality(this.quality, preferences.get().saver);
    this.markActive(slot);
    this.play();
  }

  /** The video element on show, for full screen. */
  activeElement(): HTMLVideoElement | null {
    return this.active()?.element ?? null;
  }

  private onChange(slot: Slot): void {
    if (slot.sourceId === null || slot.sourceId !== this.activeId) return;
    const { element } = slot;
    this.state.set({
      sourceId: slot.sourceId,
      playing: !element.paused,
      buffering: slot.buffering,
      muted: element.muted,
      error: slot.error,
      position: element.currentTime,
      duration: Number.isFinite(element.duration) ? element.duration : 0,
      buffered: element.buffered.length > 0 ? element.buffered.end(element.buffered.length - 1) : 0,
      qualities: slot.qualities,
      side: slot.side,
      quality: this.quality,
    });
  }

  private resumeWhenVisible = false;

  private readonly onVisibility = (): void => {
    if (document.visibilityState === "hidden") {
      this.resumeWhenVisible = this.state.get().playing;
      this.pause();
      for (const slot of this.slots) slot.halt();
    } else if (this.resumeWhenVisible) this.play();
  };

  destroy(): void {
    this.unsubscribe();
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.activeId = null;
    for (const slot of this.slots) slot.release();
  }
}

function reportWatch(videoId: string, step: WatchStep, side: number | null): void {
  queueEvent({
    event_id: crypto.randomUUID(),
    video_id: videoId,
    action: step.action,
    watch_seconds: step.watchSeconds,
    bitrate: side === null ? null : qualityName(side),
    device: "web",
    occurred_at: new Date().toISOString(),
  });
}
