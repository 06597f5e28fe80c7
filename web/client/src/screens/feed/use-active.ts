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

/** Which slide fills most of the screen just now. */
function placeOf(element: HTMLElement): number {
  return Math.round(element.scrollTop / Math.max(1, element.clientHeight));
}

/** The slide that fills most of the screen, followed while it changes. */
function usePlace(scroller: Active["scroller"]): Place {
  const [place, setPlace] = useState<Place>({ index: 0, direction: "forward" });
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return undefined;
    const look = (): void => {
      const index = placeOf(element);
      setPlace((previous) => {
        if (index === previous.index) return previous;
        return { index, direction: index < previous.index ? "backward" : "forward" };
      });
    };
    element.addEventListener("scroll", look, { passive: true });
    element.addEventListener("scrollend", look);
    return () => {
      element.removeEventListener("scroll", look);
      element.removeEventListener("scrollend", look);
    };
  }, []);
  return place;
}

/**
 * Scrolling to slides, so that quick presses add up. A scroll that a further press replaces may still end
 * late, and a redrawn slide may end one early: only arriving, or a hand on the feed, ends the way to a slide.
 */
function useHeading(scroller: Active["scroller"]): [from: () => number, to: (index: number) => void] {
  const heading = useRef<number | null>(null);
  const to = useCallback((index: number) => {
    const element = scroller.current;
    if (element === null) return;
    const top = index * element.clientHeight;
    heading.current = Math.abs(element.scrollTop - top) < 1 ? null : index;
    element.scrollTo({ top, behavior: prefersReducedMotion() ? "instant" : "smooth" });
  }, []);
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return undefined;
    const onEnd = (): void => {
      if (heading.current !== null) to(heading.current);
    };
    const onHand = (): void => {
      heading.current = null;
    };
    element.addEventListener("scrollend", onEnd);
    for (const hand of HANDS) element.addEventListener(hand, onHand, { passive: true });
    return () => {
      element.removeEventListener("scrollend", onEnd);
      for (const hand of HANDS) element.removeEventListener(hand, onHand);
    };
  }, []);
  const from = useCallback(() => heading.current ?? (scroller.current === null ? 0 : placeOf(scroller.current)), []);
  return [from, to];
}

const HANDS = ["wheel", "touchstart", "pointerdown"] as const;

/** Which slide fills the screen, and moving between slides. `count` includes the closing slide. */
export function useActive(count: number): Active {
  const scroller = useRef<HTMLDivElement | null>(null);
  const { index, direction } = usePlace(scroller);
  const [from, to] = useHeading(scroller);
  useStayInPlace(scroller, index, count);
  const step = useCallback((by: number) => to(Math.max(0, Math.min(count - 1, from() + by))), [count]);
  return { scroller, index: Math.min(index, Math.max(0, count - 1)), direction, step };
}
