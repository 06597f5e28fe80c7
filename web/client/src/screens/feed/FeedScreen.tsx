import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ArrowDown, ArrowUp, Clapperboard, PartyPopper, RotateCw, Upload } from "lucide-preact";
import type { FeedItem } from "../../api/types";
import { session } from "../../api/session";
import { DESKTOP, useMedia } from "../../lib/media-query";
import { useStore } from "../../lib/store";
import type { Source } from "../../player/engine";
import { PlayerPool } from "../../player/pool";
import { Button, IconButton, LinkButton } from "../../ui/Button";
import { KeyboardHelp } from "../../ui/KeyboardHelp";
import { ErrorState, State } from "../../ui/States";
import { FeedSession } from "./feed-session";
import type { FeedState } from "./feed-session";
import { ItemMenu } from "./ItemMenu";
import { Slide } from "./Slide";
import type { SlideProps } from "./Slide";
import { useActive } from "./use-active";
import type { Active } from "./use-active";
import { useFeedActions } from "./use-feed-actions";
import { playerKeys, useKeys } from "./use-keys";
import { WhyPanel } from "./WhyPanel";
import "./feed.css";

/** Ask for more when so few are left below. */
const AHEAD = 3;
/** Slides this far from the active one are drawn; the others keep only their place. */
const DRAWN = 3;

function sourceOf({ id, playback }: FeedItem): Source {
  return { id, hlsUrl: playback.hls_url, mp4Url: playback.mp4_url };
}

/** Shape of the feed while its first page is on the way. */
function FeedSkeleton(): JSX.Element {
  return (
    <div class="slide" aria-busy="true" aria-label="Loading the feed" role="status">
      <div class="slide-frame" style={{ "--ratio": "0.5625" }}>
        <div class="stage on-video skeleton-stage">
          <div class="stage-bottom">
            <div class="skeleton" style={{ width: "40%", height: "14px" }} />
            <div class="skeleton" style={{ width: "75%", height: "20px", marginTop: "12px" }} />
            <div class="skeleton" style={{ width: "55%", height: "14px", marginTop: "12px" }} />
            <div class="scrubber" />
          </div>
        </div>
        <div class="actions" />
      </div>
    </div>
  );
}

function FeedEnd({ onRestart }: { onRestart(): void }): JSX.Element {
  return (
    <div class="slide slide-end" data-testid="feed-end">
      <State
        icon={<PartyPopper size={32} />}
        title="That is everything"
        actions={
          <>
            <Button weight="primary" icon={<RotateCw size={18} />} onClick={onRestart}>
              Look for new videos
            </Button>
            <LinkButton href="/upload" icon={<Upload size={18} />}>
              Upload one
            </LinkButton>
          </>
        }
      >
        There are no more videos for you right now. Nothing is repeated to keep you here.
      </State>
    </div>
  );
}

function FeedEmpty({ onRestart }: { onRestart(): void }): JSX.Element {
  const signedIn = useStore(session) !== null;
  return (
    <div class="slide slide-end">
      <State
        icon={<Clapperboard size={32} />}
        title="No videos yet"
        actions={
          <>
            <LinkButton weight="primary" href={signedIn ? "/upload" : "/signup?next=/upload"} icon={<Upload size={18} />}>
              Upload the first one
            </LinkButton>
            <Button icon={<RotateCw size={18} />} onClick={onRestart}>
              Look again
            </Button>
          </>
        }
      >
        This server has nothing to show so far. Be the first: a clip of a few seconds is enough.
      </State>
    </div>
  );
}

/** Keep the pool's few video elements on the slides around the active one. */
function usePool(items: readonly FeedItem[], active: Active): [PlayerPool, (id: string, host: HTMLElement | null) => void] {
  const pool = useMemo(() => new PlayerPool(), []);
  const hosts = useRef(new Map<string, HTMLElement>());
  const onHost = useCallback((id: string, host: HTMLElement | null) => {
    if (host === null) hosts.current.delete(id);
    else hosts.current.set(id, host);
  }, []);
  const key = items.map((item) => item.id).join();
  useEffect(() => {
    pool.show(items.map(sourceOf), active.index, active.direction, (id) => hosts.current.get(id) ?? null);
  }, [pool, key, active.index]);
  useEffect(() => () => pool.destroy(), [pool]);
  return [pool, onHost];
}

function useFeed(): [FeedSession, FeedState] {
  const feed = useMemo(() => new FeedSession(), []);
  const state = useStore(feed.state);
  useEffect(() => {
    void feed.loadMore();
    return () => feed.close();
  }, [feed]);
  return [feed, state];
}

/** Fetch the next page before the person gets there. */
function useMoreAhead(feed: FeedSession, { status, items }: FeedState, index: number): void {
  useEffect(() => {
    if (status === "ready" && index >= items.length - AHEAD) void feed.loadMore();
  }, [feed, status, index, items.length]);
}

function Arrows({ step }: { step(by: number): void }): JSX.Element {
  return (
    <div class="feed-arrows">
      <IconButton label="Previous video (K)" onClick={() => step(-1)}>
        <ArrowUp size={22} />
      </IconButton>
      <IconButton label="Next video (J)" onClick={() => step(1)}>
        <ArrowDown size={22} />
      </IconButton>
    </div>
  );
}

interface TailProps {
  state: FeedState;
  feed: FeedSession;
  restart(): void;
}

/** What stands after the last video: more to come, the end, or why there is no more. */
function Tail({ state, feed, restart }: TailProps): JSX.Element {
  if (state.status === "end" && state.items.length === 0) return <FeedEmpty onRestart={restart} />;
  if (state.status === "end") return <FeedEnd onRestart={restart} />;
  if (state.status === "error") {
    return (
      <div class="slide slide-end">
        <ErrorState message={state.error ?? ""} onRetry={() => void feed.loadMore()} />
      </div>
    );
  }
  return <FeedSkeleton />;
}

interface SlidesProps extends Pick<SlideProps, "pool" | "on" | "onHost"> {
  items: readonly FeedItem[];
  index: number;
}

function Slides({ items, index: at, ...shared }: SlidesProps): JSX.Element {
  return (
    <>
      {items.map((item, index) => (
        <Slide key={item.id} item={item} active={index === at} near={Math.abs(index - at) <= DRAWN} {...shared} />
      ))}
    </>
  );
}

/** The feed: it opens playing, one video a screen. */
export function FeedScreen(): JSX.Element {
  const [feed, state] = useFeed();
  const { items } = state;
  const active = useActive(items.length + 1);
  useMoreAhead(feed, state, active.index);
  const [pool, onHost] = usePool(items, active);
  const [on, panels] = useFeedActions(feed);
  const [help, setHelp] = useState(false);
  const desktop = useMedia(DESKTOP);
  const current = items[active.index];

  const restart = useCallback(() => {
    active.scroller.current?.scrollTo({ top: 0, behavior: "instant" });
    feed.restart();
  }, [feed]);

  useKeys({
    next: () => active.step(1),
    previous: () => active.step(-1),
    ...playerKeys(pool, active.scroller),
    help: () => setHelp(true),
    ...(current && { like: () => on.like(current, !current.liked), save: () => on.save(current), why: on.why }),
  });

  return (
    <div class="feed-screen" data-why={panels.whyOpen || undefined}>
      <h1 class="visually-hidden">For you</h1>
      <div class="feed" data-testid="feed" ref={active.scroller} tabIndex={-1}>
        <Slides items={items} index={active.index} pool={pool} on={on} onHost={onHost} />
        <Tail state={state} feed={feed} restart={restart} />
      </div>
      {desktop && items.length > 0 && <Arrows step={active.step} />}
      {panels.whyOpen && current && <WhyPanel item={current} on={on} onClose={panels.closeWhy} />}
      {panels.menuFor && <ItemMenu item={panels.menuFor} pool={pool} on={on} onClose={panels.closeMenu} />}
      {help && <KeyboardHelp onClose={() => setHelp(false)} />}
    </div>
  );
}
