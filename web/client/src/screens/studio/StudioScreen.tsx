import type { JSX } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { Captions, Clapperboard, Plus, RotateCw } from "lucide-preact";
import { listOwnVideos } from "../../api/endpoints";
import { explain } from "../../api/errors";
import { session } from "../../api/session";
import { connected, listen } from "../../api/socket";
import type { Frame } from "../../api/socket";
import type { Video } from "../../api/types";
import { useStore } from "../../lib/store";
import { isProcessing } from "../../lib/use-video";
import { Button, LinkButton } from "../../ui/Button";
import { ErrorState, State } from "../../ui/States";
import { CardSkeletons, VideoCard } from "../../ui/VideoCard";
import { retryProcessing } from "../video/Processing";
import { CaptionsDialog } from "./CaptionsDialog";

const POLL_MS = 3_000;

interface Listing {
  videos: readonly Video[] | null;
  cursor: string | null;
  error: string | null;
  reload(): void;
  more(): void;
}

/** Own videos, kept current by pushes, or by polling while something is in the works (Q12). */
function useOwnVideos(): Listing {
  const [videos, setVideos] = useState<readonly Video[] | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);

  const load = useCallback(async (from: string | null) => {
    try {
      const page = await listOwnVideos(from);
      setVideos((previous) => (from === null ? page.items : [...(previous ?? []), ...page.items]));
      setCursor(page.next_cursor);
      setError(null);
    } catch (reason) {
      setError(explain(reason));
    }
  }, []);

  useEffect(() => {
    void load(null);
    return listen((frame: Frame) => {
      if (frame.event === "video_status") void load(null);
      if (frame.event !== "video_progress") return;
      const { video_id: id, progress } = frame.data;
      if (progress === null) return;
      setVideos((list) => list?.map((video) => (video.id === id ? { ...video, progress } : video)) ?? null);
    });
  }, [load]);

  const working = videos?.some(isProcessing) ?? false;
  useEffect(() => {
    if (!working) return undefined;
    const timer = setInterval(() => {
      if (!connected.get() && document.visibilityState === "visible") void load(null);
    }, POLL_MS);
    return () => clearInterval(timer);
  }, [working, load]);
  return { videos, cursor, error, reload: () => void load(null), more: () => void load(cursor) };
}

function Problem({ video, reload }: { video: Video; reload(): void }): JSX.Element | null {
  if (video.status !== "FAILED") return null;
  const retry = async (): Promise<void> => {
    if (await retryProcessing(video.id)) reload();
  };
  return (
    <>
      <p class="card-problem">{video.fail_reason ?? video.fail_code ?? "The server did not say why."}</p>
      <Button icon={<RotateCw size={18} />} onClick={() => void retry()}>
        Try again
      </Button>
    </>
  );
}

function Empty(): JSX.Element {
  return (
    <State
      icon={<Clapperboard size={32} />}
      title="No videos yet"
      actions={
        <LinkButton weight="primary" href="/upload" icon={<Plus size={18} />}>
          Upload your first video
        </LinkButton>
      }
    >
      What you upload is listed here, with its state from the first byte to the feed.
    </State>
  );
}

function OwnVideos(): JSX.Element {
  const { videos, cursor, error, reload, more } = useOwnVideos();
  const [captioned, setCaptioned] = useState<string | null>(null);
  if (error !== null && videos === null) return <ErrorState message={error} onRetry={reload} />;
  if (videos === null) return <CardSkeletons />;
  if (videos.length === 0) return <Empty />;
  return (
    <>
      <div class="cards" data-testid="studio-list">
        {videos.map((video) => (
          <VideoCard key={video.id} video={video} own>
            <Problem video={video} reload={reload} />
            {video.status !== "FAILED" && (
              <Button icon={<Captions size={18} />} onClick={() => setCaptioned(video.id)}>
                Captions
              </Button>
            )}
          </VideoCard>
        ))}
      </div>
      {captioned !== null && <CaptionsDialog videoId={captioned} onClose={() => setCaptioned(null)} />}
      {cursor !== null && (
        <div class="card-more">
          <Button onClick={more}>Show more</Button>
        </div>
      )}
    </>
  );
}

/** The own videos with their state. */
export function StudioScreen(): JSX.Element {
  const signedIn = useStore(session) !== null;
  return (
    <div class="page">
      <div class="page-head">
        <h1>Your videos</h1>
        {signedIn && (
          <LinkButton weight="primary" href="/upload" icon={<Plus size={18} />}>
            Upload
          </LinkButton>
        )}
      </div>
      {signedIn ? (
        <OwnVideos />
      ) : (
        <State
          icon={<Clapperboard size={32} />}
          title="Sign in to see your videos"
          actions={
            <>
              <LinkButton weight="primary" href="/login?next=/studio">
                Sign in
              </LinkButton>
              <LinkButton href="/signup?next=/studio">Create account</LinkButton>
            </>
          }
        />
      )}
    </div>
  );
}
