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

/**
 * When slides come in before the closing one while it is on the screen, browsers keep that one snapped
 * and would jump to the end of the new page: stay at the place instead.
 */
function useStayInPlace(scroller: Active["scroller"], index: number, count: number): void {
  const place = useRef({ index, count });
  useLayoutEffect(() => {
    const element = scroller.current;
    const { index: at, count: before } = place.current;
    if (element !== null && count > before && at >= before - 1) {
      element.scrollTo({ top: at * element.clientHeight, behavior: "instant" });
    }
    place.current = { index, count };
  }, [index, count]);
}

interface Place {
  index: number;
  direction: Direction;
}

/** The slide that fills most of the screen; `onRest` hears where a scroll ended. */
function usePlace(scroller: Active["scroller"], onRest: (index: number) => void): Place {
  const [place, setPlace] = useState<Place>({ index: 0, direction: "forward" });
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return undefined;
    const look = (): number => Math.round(element.scrollTop / Math.max(1, element.clientHeight));
    const onScroll = (): void => {
      const index = look();
      setPlace((previous) => {
        if (index === previous.index) return previous;
        return { index, direction: index < previous.index ? "backward" : "forward" };
      });
    };
    const onEnd = (): void => {
      onScroll();
      onRest(look());
    };
    element.addEventListener("scroll", onScroll, { passive: true });
    element.addEventListener("scrollend", onEnd);
    return () => {
      element.removeEventListener("scroll", onScroll);
      element.removeEventListener("scrollend", onEnd);
    };
  }, []);
  return place;
}

/** Which slide fills the screen, and moving between slides. `count` includes the closing slide. */
export function useActive(count: number): Active {
  const scroller = useRef<HTMLDivElement | null>(null);
  // Where a running scroll will end: quick presses add up instead of being lost.
  const target = useRef(0);
  const { index, direction } = usePlace(scroller, (at) => {
    target.current = at;
  });
  useStayInPlace(scroller, index, count);

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
