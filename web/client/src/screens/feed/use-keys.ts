import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { toggleFullScreen } from "../../player/full-screen";
import { toggleSound } from "../../player/Overlays";
import type { PlayerPool } from "../../player/pool";

export type KeyActions = Partial<
  Record<"next" | "previous" | "toggle" | "back" | "forward" | "sound" | "like" | "save" | "why" | "full" | "help", () => void>
>;

const KEYS: Readonly<Record<string, keyof KeyActions>> = {
  j: "next",
  ArrowDown: "next",
  PageDown: "next",
  k: "previous",
  ArrowUp: "previous",
  PageUp: "previous",
  " ": "toggle",
  ArrowLeft: "back",
  ArrowRight: "forward",
  m: "sound",
  l: "like",
  s: "save",
  w: "why",
  f: "full",
  "?": "help",
};

/** Which action a key press means; null when it belongs to a field, a menu or the browser. */
export function keyAction(event: KeyboardEvent): keyof KeyActions | null {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return null;
  const target = event.target as Element | null;
  if (target?.closest("input:not([type=range]), textarea, select, dialog, [role=menu]")) return null;
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key] ?? null;
  // Space on a button presses that button; arrows on the scrubber move it.
  if (action === "toggle" && target?.closest("button, a")) return null;
  if ((action === "back" || action === "forward") && target?.matches("input[type=range]")) return null;
  return action;
}

/** The keys of any player; `frame` is what fills the screen. */
export function playerKeys(pool: PlayerPool, frame: RefObject<HTMLElement>): KeyActions {
  return {
    toggle: () => pool.toggle(),
    back: () => pool.seekBy(-5),
    forward: () => pool.seekBy(5),
    sound: () => toggleSound(pool),
    full: () => toggleFullScreen(frame.current, pool),
  };
}

/** The player by keyboard, wherever the focus is on the page. */
export function useKeys(actions: KeyActions): void {
  const latest = useRef(actions);
  latest.current = actions;
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const action = keyAction(event);
      const run = action === null ? undefined : latest.current[action];
      if (run === undefined) return;
      event.preventDefault();
      run();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}
