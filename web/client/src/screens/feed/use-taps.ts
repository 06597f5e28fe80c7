import { useRef, useState } from "preact/hooks";
import type { JSX } from "preact";

const DOUBLE_TAP_MS = 260;
const LONG_PRESS_MS = 500;
const MOVED_PX = 12;
const HEART_MS = 900;

export interface Heart {
  id: number;
  x: number;
  y: number;
}

interface Taps {
  hearts: readonly Heart[];
  handlers: Pick<
    JSX.HTMLAttributes<HTMLDivElement>,
    "onPointerDown" | "onPointerMove" | "onPointerUp" | "onPointerCancel" | "onContextMenu"
  >;
}

interface TapActions {
  onTap(): void;
  onDoubleTap(): void;
  onLongPress(): void;
}

function useHearts(): [readonly Heart[], (x: number, y: number) => void] {
  const [hearts, setHearts] = useState<readonly Heart[]>([]);
  const add = (x: number, y: number): void => {
    const id = performance.now();
    setHearts((list) => [...list, { id, x, y }]);
    setTimeout(() => setHearts((list) => list.filter((heart) => heart.id !== id)), HEART_MS);
  };
  return [hearts, add];
}

interface Press {
  start(event: PointerEvent): void;
  move(event: PointerEvent): void;
  /** End the press; true when it was a tap and neither a drag nor a long press. */
  end(): boolean;
}

/** One press of a finger or a button, from down to up; a finger that stays long enough is a long press. */
function usePress(onLongPress: () => void): Press {
  const timer = useRef<ReturnType<typeof setTimeout>>();
  const down = useRef<{ x: number; y: number } | null>(null);
  const end = (): boolean => {
    clearTimeout(timer.current);
    const tapped = down.current !== null;
    down.current = null;
    return tapped;
  };
  return {
    start(event) {
      if (event.button !== 0) return;
      down.current = { x: event.clientX, y: event.clientY };
      if (event.pointerType === "mouse") return;
      timer.current = setTimeout(() => {
        end();
        onLongPress();
      }, LONG_PRESS_MS);
    },
    move(event) {
      const from = down.current;
      if (from && Math.hypot(event.clientX - from.x, event.clientY - from.y) > MOVED_PX) end();
    },
    end,
  };
}

/** One tap, two taps (with a heart where the finger was), or a long press on the picture. */
export function useTaps({ onTap, onDoubleTap, onLongPress }: TapActions): Taps {
  const [hearts, addHeart] = useHearts();
  const press = usePress(onLongPress);
  const single = useRef<ReturnType<typeof setTimeout>>();
  const lastUp = useRef(-Infinity);
  const handlers: Taps["handlers"] = {
    onPointerDown: press.start,
    onPointerMove: press.move,
    onPointerCancel: press.end,
    onPointerUp(event) {
      if (!press.end()) return;
      const box = event.currentTarget.getBoundingClientRect();
      const isDouble = event.timeStamp - lastUp.current < DOUBLE_TAP_MS;
      lastUp.current = event.timeStamp;
      clearTimeout(single.current);
      if (isDouble) {
        addHeart(event.clientX - box.left, event.clientY - box.top);
        onDoubleTap();
      } else single.current = setTimeout(onTap, DOUBLE_TAP_MS);
    },
    onContextMenu(event) {
      event.preventDefault();
      press.end();
      onLongPress();
    },
  };
  return { hearts, handlers };
}
