import type { JSX } from "preact";
import { memo } from "../../lib/memo";
import { CircleHelp } from "lucide-preact";
import type { FeedItem } from "../../api/types";
import { counted, formatAgo } from "../../lib/format";
import { whyChip } from "../../lib/why";
import { SoundToggle } from "../../player/Overlays";
import type { PlayerPool } from "../../player/pool";
import { Scrubber } from "../../player/Scrubber";
import { ratioOf, Stage } from "../../player/Stage";
import type { Picture } from "../../player/Stage";
import { Actions } from "./Actions";
import type { FeedActions } from "./use-feed-actions";

export interface SlideProps {
  item: FeedItem;
  pool: PlayerPool;
  active: boolean;
  /** Far slides keep their height and nothing else. */
  near: boolean;
  on: FeedActions;
  onHost(id: string, host: HTMLElement | null): void;
}

function Info({ item, onWhy }: { item: FeedItem; onWhy(): void }): JSX.Element {
  return (
    <div class="info">
      <p class="info-line">
        <a class="info-creator" href={`/@${item.creator.username}`}>
          @{item.creator.username}
        </a>
        <span class="tabular">
          {counted(item.view_count, "view")} · {formatAgo(item.created_at, Date.now())}
        </span>
      </p>
      <h2 class="info-title">
        <a href={`/v/${item.id}`}>{item.title}</a>
      </h2>
      {item.description && <p class="info-text">{item.description}</p>}
      {item.tags.length > 0 && <p class="info-tags">{item.tags.map((tag) => `#${tag}`).join(" ")}</p>}
      <button type="button" class="why-chip" data-testid="why-chip" onClick={onWhy}>
        <CircleHelp size={16} aria-hidden="true" />
        <span class="visually-hidden">Why this video: </span>
        {whyChip(item)}
      </button>
    </div>
  );
}

function pictureOf({ id, title, width, height, playback, thumbnails }: FeedItem): Picture {
  return { id, title, width, height, poster: playback.poster_url ?? thumbnails.large };
}

function SlideView({ item, pool, active, near, on, onHost }: SlideProps): JSX.Element {
  return (
    <article
      class="slide"
      aria-label={`${item.title}, by ${item.creator.username}`}
      data-testid="feed-item"
      data-video-id={item.id}
      data-active={active}
      inert={!active}
      style={{ "--ratio": String(ratioOf(item)) }}
    >
      {near && (
        <div class="slide-frame" data-wide={ratioOf(item) > 1 || undefined}>
          <Stage
            picture={pictureOf(item)}
            pool={pool}
            active={active}
            onHost={onHost}
            onLike={() => on.like(item, true)}
            onMenu={() => on.menu(item)}
          >
            <div class="stage-shade" />
            <div class="stage-top">{active && <SoundToggle pool={pool} />}</div>
            <div class="stage-bottom">
              <Info item={item} onWhy={() => on.why()} />
              {active ? <Scrubber pool={pool} /> : <div class="scrubber" />}
            </div>
          </Stage>
          <Actions
            video={item}
            onLike={() => on.like(item, !item.liked)}
            onSave={() => on.save(item)}
            onShare={() => on.share(item)}
            onMenu={() => on.menu(item)}
          />
        </div>
      )}
    </article>
  );
}

/** One video of the feed. */
export const Slide = memo(SlideView);
