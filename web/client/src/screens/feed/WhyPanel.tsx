import type { JSX, RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { ThumbsDown, ThumbsUp, X } from "lucide-preact";
import type { FeedItem } from "../../api/types";
import { contributions, whySentence } from "../../lib/why";
import { Button, IconButton } from "../../ui/Button";
import type { FeedActions } from "./use-feed-actions";

function Bars({ item }: { item: FeedItem }): JSX.Element {
  const bars = contributions(item.signals);
  const most = Math.max(...bars.map((bar) => bar.points), Number.EPSILON);
  return (
    <ul class="why-bars">
      {bars.map((bar) => (
        <li key={bar.name}>
          <div class="why-row">
            <span>{bar.label}</span>
            <b class="tabular">{bar.points.toFixed(2)}</b>
          </div>
          <div class="why-bar" aria-hidden="true">
            <div style={{ width: `${Math.max(0, (bar.points / most) * 100)}%` }} />
          </div>
          <p class="why-sum tabular">
            {bar.name} {bar.value.toFixed(2)} × weight {bar.weight.toFixed(2)}
          </p>
        </li>
      ))}
    </ul>
  );
}

interface WhyPanelProps {
  item: FeedItem;
  on: FeedActions;
  onClose(): void;
}

/** Focus goes to the panel when it opens, and back to where it was when it closes; Escape closes it. */
function usePanelFocus(onClose: () => void): RefObject<HTMLHeadingElement> {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const opener = document.activeElement as HTMLElement | null;
    heading.current?.focus({ preventScroll: true });
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === "Escape") onClose();
    };
    addEventListener("keydown", onKey);
    return () => {
      removeEventListener("keydown", onKey);
      if (opener?.isConnected) opener.focus({ preventScroll: true });
    };
  }, []);
  return heading;
}

/** Why this video: a sentence, then the numbers behind its place, then a say in the matter. */
export function WhyPanel({ item, on, onClose }: WhyPanelProps): JSX.Element {
  const heading = usePanelFocus(onClose);
  return (
    <aside class="why" aria-label="Why this video" data-testid="why-panel">
      <div class="why-head">
        <h2 ref={heading} tabIndex={-1}>
          Why this video
        </h2>
        <IconButton label="Close" onClick={onClose}>
          <X size={20} />
        </IconButton>
      </div>
      <p class="why-sentence" aria-live="polite">
        {whySentence(item)}
      </p>
      <Bars item={item} />
      <p class="why-total">
        <span>Score</span>
        <b class="tabular">{item.score.toFixed(2)}</b>
      </p>
      <div class="why-actions">
        <Button icon={<ThumbsUp size={18} />} onClick={() => on.more(item)}>
          More like this
        </Button>
        <Button icon={<ThumbsDown size={18} />} onClick={() => on.less(item)}>
          Less
        </Button>
      </div>
    </aside>
  );
}
