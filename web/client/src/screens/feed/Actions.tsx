import type { ComponentChildren, JSX } from "preact";
import { Bookmark, Ellipsis, Heart, Share2 } from "lucide-preact";
import { formatCount } from "../../lib/format";
import type { Reactable } from "./reactions";

interface ActionProps {
  label: string;
  caption: ComponentChildren;
  pressed?: boolean;
  testId?: string;
  onClick(): void;
  children: ComponentChildren;
}

function Action({ label, caption, pressed, testId, onClick, children }: ActionProps): JSX.Element {
  return (
    <div class="action">
      <button
        type="button"
        class="action-button"
        aria-label={label}
        title={label}
        aria-pressed={pressed}
        data-testid={testId}
        onClick={onClick}
      >
        {children}
      </button>
      <span class="action-caption tabular">{caption}</span>
    </div>
  );
}

export interface ActionHandlers {
  onLike(): void;
  onSave(): void;
  onShare(): void;
  onMenu(): void;
}

/** What one can do with a video, with the counts the server's tables have. */
export function Actions({ video, ...on }: { video: Reactable } & ActionHandlers): JSX.Element {
  const { liked = false, saved = false } = video;
  return (
    <div class="actions">
      <Action
        label={liked ? "Unlike" : "Like"}
        pressed={liked}
        testId="like-button"
        onClick={on.onLike}
        caption={<span data-testid="like-count">{formatCount(video.like_count)}</span>}
      >
        <Heart size={26} fill={liked ? "currentColor" : "none"} />
      </Action>
      <Action
        label={saved ? "Remove from saved" : "Save"}
        pressed={saved}
        testId="save-button"
        onClick={on.onSave}
        caption={saved ? "Saved" : "Save"}
      >
        <Bookmark size={26} fill={saved ? "currentColor" : "none"} />
      </Action>
      <Action label="Share" testId="share-button" onClick={on.onShare} caption={formatCount(video.share_count)}>
        <Share2 size={25} />
      </Action>
      <Action label="Quality and more" testId="more-button" onClick={on.onMenu} caption="More">
        <Ellipsis size={26} />
      </Action>
    </div>
  );
}
