import type { ComponentChildren, JSX } from "preact";
import { Heart } from "lucide-preact";
import { useTaps } from "../screens/feed/use-taps";
import { PlayerOverlay } from "./Overlays";
import type { PlayerPool } from "./pool";
import "./player.css";

/** The picture's place on the page, known before anything is loaded. */
export interface Picture {
  id: string;
  title: string;
  width: number | null;
  height: number | null;
  poster: string | null;
}

export interface StageProps {
  picture: Picture;
  pool: PlayerPool;
  active: boolean;
  /** Hears the element that will hold the video, and null when it goes. */
  onHost(id: string, host: HTMLElement | null): void;
  onLike(): void;
  onMenu(): void;
  children?: ComponentChildren;
}

/** Narrower than this a picture may fill a phone's screen, its edges cut. */
const FILLING_RATIO = 0.75;

export function ratioOf({ width, height }: Pick<Picture, "width" | "height">): number {
  return width && height ? width / height : 9 / 16;
}

/** One video on the screen: poster, picture, taps, and what lies over it. */
export function Stage({ picture, pool, active, onHost, onLike, onMenu, children }: StageProps): JSX.Element {
  const ratio = ratioOf(picture);
  const { hearts, handlers } = useTaps({ onTap: () => pool.toggle(), onDoubleTap: onLike, onLongPress: onMenu });
  return (
    <div class="stage on-video" data-fill={ratio < FILLING_RATIO || undefined} style={{ "--ratio": String(ratio) }}>
      {picture.poster && (
        <>
          <img class="stage-backdrop" src={picture.poster} alt="" aria-hidden="true" />
          <img class="stage-poster" src={picture.poster} alt={`Still of ${picture.title}`} decoding="async" />
        </>
      )}
      <div class="stage-host" ref={(element) => onHost(picture.id, element)} />
      <div class="stage-taps" {...handlers}>
        {hearts.map(({ id, x, y }) => (
          <span key={id} class="tap-heart" style={{ left: `${x}px`, top: `${y}px` }}>
            <Heart size={88} fill="currentColor" />
          </span>
        ))}
      </div>
      {active && <PlayerOverlay pool={pool} />}
      {children}
    </div>
  );
}
