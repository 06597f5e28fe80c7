import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { MutableRef } from "preact/hooks";
import { prefersReducedMotion } from "../../lib/media-query";
import type { Direction } from "../../player/pool-plan";

export interface Active {
  scroller: MutableRef<HTMLDivElement | null>;
  index: number;
  direction: Direction;
  /** Scroll so many slides on; the end slide counts as one. */
  step(by: number): void;
  scrollTo(index: number): void;
}

/** Which slide fills the screen, and moving between slides. `count` includes the closing slide. */
export function useActive(count: number): Active {
  const scroller = useRef<HTMLDivElement | null>(null);
  const [{ index, direction }, setPlace] = useState<{ index: number; direction: Direction }>({
    index: 0,
    direction: "forward",
  });
  // Where a running scroll will end: quick presses add up instead of being lost.
  const target = useRef(0);

  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const settle = (): void => {
      if (element.clientHeight === 0) return;
      const next = Math.round(element.scrollTop / element.clientHeight);
      setPlace((previous) => {
        if (next === previous.index) return previous;
        return { index: next, direction: next < previous.index ? "backward" : "forward" };
      });
    };
    const settled = (): void => {
      settle();
      target.current = Math.round(element.scrollTop / Math.max(1, element.clientHeight));
    };
    element.addEventListener("scroll", settle, { passive: true });
    element.addEventListener("scrollend", settled);
    return () => {
      element.removeEventListener("scroll", settle);
      element.removeEventListener("scrollend", settled);
    };
  }, []);

  // When slides come in before the closing one while it is on the screen, browsers keep that one snapped
  // and would jump to the end of the new page: stay at the place instead.
  const place = useRef({ index: 0, count });
  useLayoutEffect(() => {
    const element = scroller.current;
    const { index: at, count: before } = place.current;
    if (element !== null && count > before && at >= before - 1) {
      element.scrollTo({ top: at * element.clientHeight, behavior: "instant" });
    }
    place.current = { index, count };
  }, [index, count]);

  const scrollTo = useCallback(
    (to: number) => {
      const element = scroller.current;
      if (element === null) return;
      target.current = Math.max(0, Math.min(count - 1, to));
      const behavior = prefersReducedMotion() ? "instant" : "smooth";
      element.scrollTo({ top: target.current * element.clientHeight, behavior });
    },
    [count],
  );
  const step = useCallback((by: number) => scrollTo(target.current + by), [scrollTo]);
  return { scroller, index: Math.min(index, Math.max(0, count - 1)), direction, step, scrollTo };
}
