import type { JSX } from "preact";
import { Play, RotateCw, TriangleAlert, Volume2, VolumeX } from "lucide-preact";
import { choose } from "../lib/preferences";
import { useStore } from "../lib/store";
import { Button, IconButton } from "../ui/Button";
import type { PlayerPool } from "./pool";

export function toggleSound(pool: PlayerPool): void {
  const on = pool.state.get().muted;
  choose({ sound: on });
  if (pool.state.get().playing) pool.play();
}

/** Sound is one clear tap away while the browser keeps the video muted, and small once it was chosen. */
export function SoundToggle({ pool }: { pool: PlayerPool }): JSX.Element {
  const { muted } = useStore(pool.state);
  if (muted) {
    return (
      <button type="button" class="sound-pill" data-testid="sound-toggle" onClick={() => toggleSound(pool)}>
        <VolumeX size={20} aria-hidden="true" />
        {matchMedia("(pointer: coarse)").matches ? "Tap for sound" : "Turn sound on"}
      </button>
    );
  }
  return (
    <IconButton label="Sound off" data-testid="sound-toggle" onClick={() => toggleSound(pool)}>
      <Volume2 size={22} />
    </IconButton>
  );
}

/** What lies over the picture: loading, paused, broken. */
export function PlayerOverlay({ pool }: { pool: PlayerPool }): JSX.Element | null {
  const { error, buffering, playing, sourceId } = useStore(pool.state);
  if (sourceId === null) return null;
  if (error !== null) {
    return (
      <div class="player-error" role="alert" data-testid="player-error">
        <TriangleAlert size={32} aria-hidden="true" />
        <p>{error}</p>
        <Button weight="primary" icon={<RotateCw size={18} />} onClick={() => void pool.retry()}>
          Try again
        </Button>
      </div>
    );
  }
  if (buffering) {
    return (
      <div class="player-loading" role="status">
        <div class="spinner" aria-hidden="true" />
        <span>Loading...</span>
      </div>
    );
  }
  if (!playing) {
    return (
      <div class="player-paused" aria-hidden="true">
        <Play size={44} fill="currentColor" />
      </div>
    );
  }
  return null;
}
