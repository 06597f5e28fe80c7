import { preferences } from "../lib/preferences";
import { captionsShown } from "./captions";
import { Engine } from "./engine";
import type { Source } from "./engine";
import type { Quality } from "./qualities";
import { WatchTracker } from "./watch-tracker";
import type { WatchStep } from "./watch-tracker";

/** What a slot tells its pool. */
export interface SlotEvents {
  /** Position, buffer or play state changed. */
  onChange(slot: Slot): void;
  onWatch(sourceId: string, step: WatchStep, side: number | null): void;
}

/** One recycled video element with the source it plays now. */
export class Slot {
  readonly element: HTMLVideoElement;
  sourceId: string | null = null;
  /** Waiting for data while it should play. */
  buffering = false;
  error: string | null = null;
  qualities: number[] = [];
  side: number | null = null;
  private engine: Engine | null = null;
  private tracker: WatchTracker | null = null;
  /** It should be playing, whether or not data has arrived. */
  private wanted = false;
  private sound = false;

  constructor(private readonly events: SlotEvents) {
    const element = document.createElement("video");
    element.playsInline = true;
    element.loop = true;
    element.muted = true;
    element.preload = "auto";
    element.disableRemotePlayback = true;
    element.tabIndex = -1;
    element.className = "player-video";
    this.element = element;
    this.listen();
  }

  private listen(): void {
    const { element } = this;
    const changed = (): void => this.events.onChange(this);
    for (const name of ["play", "pause", "durationchange", "progress", "volumechange"]) {
      element.addEventListener(name, changed);
    }
    element.addEventListener("volumechange", () => this.applyCaptions());
    element.addEventListener("loadeddata", () => element.classList.add("has-frame"));
    element.addEventListener("waiting", () => this.setBuffering(true));
    for (const name of ["playing", "seeked", "canplay"]) {
      element.addEventListener(name, () => this.setBuffering(false));
    }
    // A source attached after play() was asked for leaves the element paused.
    element.addEventListener("canplay", () => {
      if (this.wanted && element.paused) void this.play(this.sound);
    });
    element.addEventListener("timeupdate", () => {
      this.track();
      changed();
    });
  }

  private setBuffering(buffering: boolean): void {
    this.buffering = buffering && this.wanted;
    this.events.onChange(this);
  }

  private track(): void {
    const { element, tracker, sourceId } = this;
    if (element.paused || element.seeking || sourceId === null || !Number.isFinite(element.duration)) return;
    this.tracker = tracker ?? new WatchTracker(element.duration);
    for (const step of this.tracker.at(element.currentTime)) this.events.onWatch(sourceId, step, this.side);
  }

  /** Play another source in `host`, starting with its first segment only. */
  assign(source: Source, host: HTMLElement): void {
    this.release();
    this.sourceId = source.id;
    this.engine = new Engine(this.element, source, {
      onQualities: (offered) => {
        this.qualities = offered;
        this.events.onChange(this);
      },
      onQuality: (side) => {
        this.side = side;
        this.events.onChange(this);
      },
      onFatal: (message) => {
        this.error = message;
        this.buffering = false;
        this.events.onChange(this);
      },
    });
    host.append(this.element);
    this.applyCaptions();
    void this.engine.attach();
  }

  /** Forget the source, keep the element. */
  release(): void {
    this.wanted = false;
    this.element.pause();
    this.engine?.destroy();
    this.engine = null;
    this.tracker = null;
    this.sourceId = null;
    this.error = null;
    this.buffering = false;
    this.qualities = [];
    this.side = null;
    this.element.classList.remove("has-frame");
    this.element.remove();
  }

  /** Start playing; false when the browser only allows it muted, which then happens. */
  async play(sound: boolean): Promise<boolean> {
    this.wanted = true;
    this.sound = sound;
    this.engine?.activate();
    this.element.muted = !sound;
    if (this.element.readyState < HTMLMediaElement.HAVE_FUTURE_DATA) this.setBuffering(true);
    try {
      await this.element.play();
      return true;
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "NotAllowedError" || !this.wanted) return true;
      this.element.muted = true;
      await this.element.play().catch(() => undefined);
      return !sound;
    }
  }

  pause(): void {
    this.wanted = false;
    this.buffering = false;
    this.element.pause();
  }

  /** Rewind and wait for its turn. */
  park(): void {
    this.pause();
    this.engine?.wait();
    if (this.element.currentTime > 0) this.element.currentTime = 0;
    this.tracker = null;
  }

  halt(): void {
    this.engine?.halt();
  }

  seek(position: number): void {
    const { duration } = this.element;
    if (!Number.isFinite(duration)) return;
    const target = Math.min(Math.max(0, position), Math.max(0, duration - 0.1));
    this.tracker?.seeked(target);
    this.element.currentTime = target;
    this.events.onChange(this);
  }

  /** Show or hide captions, as was chosen and as the sound is. */
  applyCaptions(): void {
    this.engine?.showCaptions(captionsShown(preferences.get().captions, this.element.muted));
  }

  setQuality(quality: Quality, saver: boolean): void {
    this.engine?.setQuality(quality, saver);
  }
}
