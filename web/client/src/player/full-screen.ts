import type { PlayerPool } from "./pool";

/** WebKit on phones has full screen for video elements only. */
interface WebkitVideo extends HTMLVideoElement {
  webkitEnterFullscreen?(): void;
}

/** Enter full screen with the feed in it, so that its controls and swipes stay; or leave it. */
export function toggleFullScreen(element: HTMLElement | null, pool: PlayerPool): void {
  if (document.fullscreenElement) {
    void document.exitFullscreen();
    return;
  }
  if (element?.requestFullscreen) void element.requestFullscreen().catch(() => undefined);
  else (pool.activeElement() as WebkitVideo | null)?.webkitEnterFullscreen?.();
}
