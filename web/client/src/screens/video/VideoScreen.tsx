import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Clapperboard, SearchX } from "lucide-preact";
import type { Video } from "../../api/types";
import { counted, formatAgo } from "../../lib/format";
import { useVideo } from "../../lib/use-video";
import type { VideoView } from "../../lib/use-video";
import { SoundToggle } from "../../player/Overlays";
import { PlayerPool } from "../../player/pool";
import { CaptionsMenu } from "../../player/CaptionsMenu";
import { QualityMenu } from "../../player/QualityMenu";
import { Scrubber } from "../../player/Scrubber";
import { ratioOf, Stage } from "../../player/Stage";
import type { StageProps } from "../../player/Stage";
import { LinkButton } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { ErrorState, State } from "../../ui/States";
import { Actions } from "../feed/Actions";
import { like, save, share } from "../feed/reactions";
import type { Reactable } from "../feed/reactions";
import { playerKeys, useKeys } from "../feed/use-keys";
import { Processing } from "./Processing";
import "../feed/feed.css";
import "./video.css";

/** The page's own copy of what reactions change. */
function useReactable(video: Video): [Video, (id: string, change: Partial<Reactable>) => void] {
  const [changes, setChanges] = useState<Partial<Reactable>>({});
  return [{ ...video, ...changes }, (_id, change) => setChanges((previous) => ({ ...previous, ...change }))];
}

function useSinglePool(video: Video): [PlayerPool, (id: string, host: HTMLElement | null) => void] {
  const pool = useMemo(() => new PlayerPool(1), []);
  const host = useRef<HTMLElement | null>(null);
  useEffect(() => {
    const source = { id: video.id, hlsUrl: video.playback.hls_url, mp4Url: video.playback.mp4_url };
    pool.show([source], 0, "forward", () => host.current);
  }, [pool, video.id]);
  useEffect(() => () => pool.destroy(), [pool]);
  return [
    pool,
    (_id, element) => {
      host.current = element;
    },
  ];
}

function Details({ video }: { video: Video }): JSX.Element {
  const creator = video.owner;
  return (
    <div class="video-details">
      <h1>{video.title}</h1>
      <p class="soft tabular">
        {creator && (
          <a class="video-creator" href={`/@${creator.username}`}>
            @{creator.username}
          </a>
        )}{" "}
        {counted(video.view_count, "view")} ·{" "}
        {formatAgo(video.created_at, Date.now())}
      </p>
      {video.description && <p class="video-text">{video.description}</p>}
      {video.tags.length > 0 && (
        <ul class="tags" aria-label="Tags">
          {video.tags.map((tag) => (
            <li key={tag}>#{tag}</li>
          ))}
        </ul>
      )}
    </div>
  );
}

type PictureProps = Omit<StageProps, "picture" | "active" | "children"> & { video: Video };

function Picture({ video, ...rest }: PictureProps): JSX.Element {
  const { id, title, width, height, playback } = video;
  return (
    <Stage picture={{ id, title, width, height, poster: playback.poster_url }} active {...rest}>
      <div class="stage-top">
        <SoundToggle pool={rest.pool} />
      </div>
      <div class="stage-bottom">
        <Scrubber pool={rest.pool} />
      </div>
    </Stage>
  );
}

function Watch({ video: loaded }: { video: Video }): JSX.Element {
  const [video, patch] = useReactable(loaded);
  const [pool, onHost] = useSinglePool(loaded);
  const [menu, setMenu] = useState(false);
  const page = useRef<HTMLDivElement>(null);
  const openMenu = (): void => setMenu(true);
  const on = {
    like: () => void like(video, !video.liked, patch),
    save: () => void save(video, !video.saved, patch),
  };
  useKeys({ ...playerKeys(pool, page), ...on });
  return (
    <div class="video-page">
      <div class="video-player" ref={page} style={{ "--ratio": String(ratioOf(video)) }}>
        <Picture video={video} pool={pool} onHost={onHost} onLike={() => void like(video, true, patch)} onMenu={openMenu} />
      </div>
      <div class="video-side">
        <Details video={video} />
        <Actions
          video={video}
          onLike={on.like}
          onSave={on.save}
          onShare={() => void share(video, patch)}
          onMenu={openMenu}
        />
      </div>
      {menu && (
        <Dialog title="Quality" onClose={() => setMenu(false)}>
          <QualityMenu pool={pool} onDone={() => setMenu(false)} />
          <CaptionsMenu onDone={() => setMenu(false)} />
        </Dialog>
      )}
    </div>
  );
}

function Missing(): JSX.Element {
  return (
    <State
      icon={<SearchX size={32} />}
      title="This video is not here"
      actions={
        <LinkButton weight="primary" href="/">
          To the feed
        </LinkButton>
      }
    >
      It may have been deleted, or it is not meant for you. Check the link.
    </State>
  );
}

function Skeleton(): JSX.Element {
  return (
    <div class="page" aria-busy="true" role="status" aria-label="Loading the video">
      <div class="skeleton" style={{ aspectRatio: "16 / 9", borderRadius: "20px" }} />
      <div class="skeleton" style={{ width: "60%", height: "28px", marginTop: "24px" }} />
    </div>
  );
}

/** Came here from the upload, or saw it processing: READY is announced before it is played. */
function useFollowed(view: VideoView): [boolean, () => void] {
  const [followed, setFollowed] = useState(() => new URLSearchParams(location.search).has("uploaded"));
  const status = view.video?.status;
  useEffect(() => {
    if (status !== undefined && status !== "READY") setFollowed(true);
  }, [status]);
  return [
    followed,
    () => {
      history.replaceState(null, "", location.pathname);
      setFollowed(false);
    },
  ];
}

/** `/v/{id}`: the video when it can be played, its processing until then. */
export function VideoScreen({ id }: { id: string }): JSX.Element {
  const view = useVideo(id);
  const [followed, stopFollowing] = useFollowed(view);
  const { video } = view;
  useEffect(() => {
    if (video !== null) document.title = `${video.title} · FreeWill`;
  }, [video?.title]);
  if (view.missing) return <Missing />;
  if (video === null) return view.error === null ? <Skeleton /> : <ErrorState message={view.error} onRetry={view.reload} />;
  if (video.status !== "READY" || followed) return <Processing view={view} video={video} onPlay={stopFollowing} />;
  return video.playback.hls_url === null && video.playback.mp4_url === null ? (
    <State icon={<Clapperboard size={32} />} title="Nothing to play">
      The server gave no address for this video. Reload the page to ask again.
    </State>
  ) : (
    <Watch video={video} />
  );
}
