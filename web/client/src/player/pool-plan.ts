/** Which slides of the feed hold one of the few video elements. Pure. */

export type Direction = "forward" | "backward";

/**
 * Slides to keep attached, most important first: the active one, then where the person is heading.
 * Forward that is the next two; after a step back it is one on each side.
 */
export function planWindow(active: number, direction: Direction, count: number, size = 3): number[] {
  const wanted: number[] = [];
  const add = (index: number): void => {
    if (index >= 0 && index < count && wanted.length < size && !wanted.includes(index)) wanted.push(index);
  };
  add(active);
  if (direction === "backward") add(active - 1);
  for (let step = 1; wanted.length < size && step <= size; step += 1) add(active + step);
  return wanted;
}

/**
 * Give each slot its slide: a slot that already holds a wanted slide keeps it, the others are recycled.
 * `held` and the result have one entry per slot; null is an idle slot.
 */
export function assignSlots(held: readonly (string | null)[], wanted: readonly string[]): (string | null)[] {
  const kept = held.map((key) => (key !== null && wanted.includes(key) ? key : null));
  const missing = wanted.filter((key) => !kept.includes(key));
  return kept.map((key) => key ?? missing.shift() ?? null);
}
