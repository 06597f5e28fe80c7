/** The quality menu: rungs are named by the short side of the picture, as the ladder does. */

export type Quality = "auto" | number;

/** Peak of the data saver, bit/s (Q17). */
export const SAVER_BITS_PER_SECOND = 1_500_000;

export interface Level {
  width: number;
  height: number;
  bitrate: number;
}

export function shortSide(level: Pick<Level, "width" | "height">): number {
  return Math.min(level.width, level.height);
}

/** Short sides on offer, highest first, without repeats. */
export function offeredQualities(levels: readonly Level[]): number[] {
  return [...new Set(levels.map(shortSide).filter((side) => side > 0))].sort((a, b) => b - a);
}

/** The standard rung that a picture's short side stands for: 718 is still "720p". */
export function qualityName(side: number): string {
  const rungs = [2160, 1440, 1080, 720, 480, 360, 240, 144];
  const near = rungs.find((rung) => Math.abs(rung - side) <= rung * 0.04);
  return `${near ?? side}p`;
}

/** Index of the level to pin for a choice, -1 for automatic or when the choice is not on offer. */
export function levelFor(quality: Quality, levels: readonly Level[]): number {
  if (quality === "auto") return -1;
  return levels.findIndex((level) => shortSide(level) === quality);
}

/** Highest level index within the data saver's peak; the lowest when none is; -1 for no cap. */
export function capFor(saver: boolean, levels: readonly Level[]): number {
  if (!saver || levels.length === 0) return -1;
  let best = -1;
  let lowest = 0;
  levels.forEach((level, index) => {
    if (level.bitrate < levels[lowest]!.bitrate) lowest = index;
    if (level.bitrate <= SAVER_BITS_PER_SECOND && (best < 0 || level.bitrate > levels[best]!.bitrate)) best = index;
  });
  return best < 0 ? lowest : best;
}
