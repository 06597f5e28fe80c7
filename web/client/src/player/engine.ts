import type Hls from "hls.js";
import type { ErrorData, HlsConfig } from "hls.js";
import { captionTrackFor } from "./captions";
import { capFor, levelFor, offeredQualities, shortSide } from "./qualities";
import type { Quality } from "./qualities";

/** What there is to play. */
export interface Source {
  id: string;
  hlsUrl: string | null;
  mp4Url: string | null;
}

export interface EngineEvents {
  onQualities(offered: number[]): void;
  /** The short side of the picture now playing. */
  onQuality(side: number): void;
  onFatal(message: string): void;
}

/** Forward buffer of the playing video, seconds (Q17), and of one that only waits: its first segment. */
const PLAYING_BUFFER_SECONDS = 30;
const WAITING_BUFFER_SECONDS = 1;
/** Recoveries of hls.js before the mp4 is tried, and the mp4 before the error is shown. */
const RECOVERIES = 2;

const CONFIG: Partial<HlsConfig> = {
  maxBufferLength: WAITING_BUFFER_SECONDS,
  maxMaxBufferLength: 60,
  backBufferLength: 10,
  capLevelToPlayerSize: true,
  // The first guess: a phone on a fair network starts at the middle rung, not at the lowest.
  abrEwmaDefaultEstimate: 1_500_000,
};

function languagesOf(hls: Hls): (string | undefined)[] {
  return hls.subtitleTracks.map((track) => track.lang);
}

let library: Promise<typeof Hls> | null = null;

/** hls.js, fetched once and only when something is about to play. */
export function loadHls(): Promise<typeof Hls> {
  library ??= import("hls.js").then((module) => module.default);
  library.catch(() => (library = null));
  return library;
}

/** Feeds one video element from one source: HLS by hls.js, else natively, else the progressive mp4. */
export class Engine {
  private hls: Hls | null = null;
  private dead = false;
  private recoveries = RECOVERIES;
  private playing = false;
  private quality: Quality = "auto";
  private saver = false;
  private captions = false;
  private onMp4 = false;

  constructor(
    private readonly element: HTMLVideoElement,
    private readonly source: Source,
    private readonly events: EngineEvents,
  ) {
    element.addEventListener("error", this.onElementError);
    element.textTracks.addEventListener("addtrack", this.onTextTrack);
  }

  async attach(): Promise<void> {
    if (this.source.hlsUrl === null) return this.useMp4("This video has no playable stream.");
    let Library: typeof Hls;
    try {
      Library = await loadHls();
    } catch {
      return this.dead ? undefined : this.useMp4("The player could not be loaded. Check your connection.");
    }
    if (this.dead) return;
    if (!Library.isSupported()) {
      this.element.src = this.source.hlsUrl;
      return;
    }
    this.hls = new Library({ ...CONFIG });
    if (this.playing) this.hls.config.maxBufferLength = PLAYING_BUFFER_SECONDS;
    this.listen(this.hls, Library);
    this.hls.loadSource(this.source.hlsUrl);
    this.hls.attachMedia(this.element);
  }

  private listen(hls: Hls, Library: typeof Hls): void {
    hls.on(Library.Events.MANIFEST_PARSED, () => {
      this.events.onQualities(offeredQualities(hls.levels));
      this.applyQuality();
    });
    hls.on(Library.Events.LEVEL_SWITCHED, (_event, { level }) => {
      const shown = hls.levels[level];
      if (shown) this.events.onQuality(shortSide(shown));
    });
    hls.on(Library.Events.SUBTITLE_TRACKS_UPDATED, () => this.applyCaptions());
    // Before there is sound and picture, hls.js takes the choice back.
    hls.once(Library.Events.FRAG_BUFFERED, () => this.applyCaptions());
    hls.on(Library.Events.ERROR, (_event, data) => this.onHlsError(hls, Library, data));
  }

  /** The video plays now: fill its buffer. */
  activate(): void {
    this.playing = true;
    if (this.hls === null) {
      this.element.preload = "auto";
      return;
    }
    this.hls.config.maxBufferLength = PLAYING_BUFFER_SECONDS;
    this.hls.resumeBuffering();
  }

  /** The video waits its turn: no more than its first segment. */
  wait(): void {
    this.playing = false;
    if (this.hls !== null) this.hls.config.maxBufferLength = WAITING_BUFFER_SECONDS;
  }

  /** Stop every download, as for a hidden tab; activate() goes on. */
  halt(): void {
    this.hls?.pauseBuffering();
  }

  setQuality(quality: Quality, saver: boolean): void {
    this.quality = quality;
    this.saver = saver;
    this.applyQuality();
  }

  private applyQuality(): void {
    const { hls } = this;
    if (hls === null || hls.levels.length === 0) return;
    hls.autoLevelCapping = capFor(this.saver, hls.levels);
    const pinned = levelFor(this.quality, hls.levels);
    if (pinned !== hls.loadLevel || pinned === -1) hls.nextLevel = pinned;
  }

  showCaptions(shown: boolean): void {
    this.captions = shown;
    this.applyCaptions();
  }

  private applyCaptions(): void {
    const { hls, element } = this;
    const tracks = hls === null ? [...element.textTracks].map((track) => track.language) : languagesOf(hls);
    const wanted = this.captions ? captionTrackFor(navigator.languages, tracks) : -1;
    if (hls !== null) {
      hls.subtitleDisplay = this.captions;
      if (hls.subtitleTrack !== wanted) hls.subtitleTrack = wanted;
      return;
    }
    [...element.textTracks].forEach((track, index) => (track.mode = index === wanted ? "showing" : "disabled"));
  }

  private readonly onTextTrack = (): void => {
    // Those of hls.js are its own; these the browser found in a plain `src`.
    if (this.hls === null && !this.dead) this.applyCaptions();
  };

  private onHlsError(hls: Hls, Library: typeof Hls, data: ErrorData): void {
    if (!data.fatal || this.dead) return;
    this.recoveries -= 1;
    if (this.recoveries >= 0 && data.type === Library.ErrorTypes.MEDIA_ERROR) return hls.recoverMediaError();
    if (this.recoveries >= 0 && data.type === Library.ErrorTypes.NETWORK_ERROR && hls.levels.length > 0) {
      return hls.startLoad();
    }
    const network = data.type === Library.ErrorTypes.NETWORK_ERROR;
    this.useMp4(network ? "The video could not be loaded. Check your connection." : "This video cannot be played here.");
  }

  private useMp4(message: string): void {
    this.hls?.destroy();
    this.hls = null;
    if (this.source.mp4Url === null || this.onMp4) return this.events.onFatal(message);
    this.onMp4 = true;
    this.element.preload = this.playing ? "auto" : "metadata";
    this.element.src = this.source.mp4Url;
    if (this.playing) void this.element.play().catch(() => undefined);
  }

  private readonly onElementError = (): void => {
    // hls.js reports its own element errors; these are of a plain `src`.
    if (this.dead || this.hls !== null || this.element.error === null) return;
    this.useMp4("The video could not be loaded. Check your connection.");
  };

  destroy(): void {
    this.dead = true;
    this.element.removeEventListener("error", this.onElementError);
    this.element.textTracks.removeEventListener("addtrack", this.onTextTrack);
    this.hls?.destroy();
    this.hls = null;
    this.element.removeAttribute("src");
    this.element.load();
  }
}
