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

/** One tap, two taps (with a heart where the finger was), or a long press on the picture. */
export function useTaps({ onTap, onDoubleTap, onLongPress }: TapActions): Taps {
  const [hearts, setHearts] = useState<readonly Heart[]>([]);
  const single = useRef<ReturnType<typeof setTimeout>>();
  const long = useRef<ReturnType<typeof setTimeout>>();
  const down = useRef<{ x: number; y: number } | null>(null);
  const lastUp = useRef(0);

  const cancel = (): void => {
    clearTimeout(long.current);
    down.current = null;
  };
  const addHeart = (x: number, y: number): void => {
    const id = performance.now();
    setHearts((list) => [...list, { id, x, y }]);
    setTimeout(() => setHearts((list) => list.filter((heart) => heart.id !== id)), HEART_MS);
  };
  return {
    hearts,
    handlers: {
      onPointerDown(event) {
        if (event.button !== 0) return;
        down.current = { x: event.clientX, y: event.clientY };
        if (event.pointerType !== "mouse") {
          long.current = setTimeout(() => {
            cancel();
            onLongPress();
          }, LONG_PRESS_MS);
        }
      },
      onPointerMove(event) {
        const start = down.current;
        if (start && Math.hypot(event.clientX - start.x, event.clientY - start.y) > MOVED_PX) cancel();
      },
      onPointerUp(event) {
        const start = down.current;
        cancel();
        if (start === null) return;
        const box = event.currentTarget.getBoundingClientRect();
        const isDouble = event.timeStamp - lastUp.current < DOUBLE_TAP_MS;
        lastUp.current = event.timeStamp;
        clearTimeout(single.current);
        if (isDouble) {
          addHeart(event.clientX - box.left, event.clientY - box.top);
          onDoubleTap();
        } else single.current = setTimeout(onTap, DOUBLE_TAP_MS);
      },
      onPointerCancel: cancel,
      onContextMenu(event) {
        event.preventDefault();
        cancel();
        onLongPress();
      },
    },
  };
}
