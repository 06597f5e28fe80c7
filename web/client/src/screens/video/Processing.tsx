import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Clapperboard, Play, RotateCw, TriangleAlert } from "lucide-preact";
import { retryVideo } from "../../api/endpoints";
import { explain } from "../../api/errors";
import type { Video } from "../../api/types";
import { isProcessing } from "../../lib/use-video";
import type { VideoView } from "../../lib/use-video";
import { Button, LinkButton } from "../../ui/Button";
import { Progress, Spinner } from "../../ui/States";
import { toast } from "../../ui/toasts";

const STAGES: Readonly<Record<string, string>> = {
  queued: "Waiting for its turn",
  probing: "Looking at the file",
  transcoding: "Making the qualities",
  packaging: "Packaging",
  pictures: "Taking pictures",
  storing: "Storing",
};

/** The stage in words; the server may add detail, as in "transcoding 2/3". */
export function stageText(status: Video["status"], stage: string | null): string {
  if (stage === null || stage === "") return status === "TRANSCODING" ? "Working" : "Waiting for its turn";
  const [name = "", ...rest] = stage.split(" ");
  const known = STAGES[name.toLowerCase()] ?? name.charAt(0).toUpperCase() + name.slice(1);
  return rest.length > 0 ? `${known}, ${rest.join(" ")}` : known;
}

function Measured({ view, status }: { view: VideoView; status: Video["status"] }): JSX.Element {
  const { progress, stage } = view;
  const text = stageText(status, stage);
  return (
    <div class="processing-progress" data-testid="processing-progress" aria-live="polite">
      {progress === null ? (
        <Spinner label={text} />
      ) : (
        <Progress value={progress} label="Processing" />
      )}
      <p class="soft tabular">
        {text}
        {progress !== null && <span> · {Math.floor(progress)} %</span>}
      </p>
    </div>
  );
}

interface StageProps {
  video: Video;
  onPlay(): void;
}

/** The picture with its play button: there from the start, enabled when there is something to play. */
function PosterStage({ video, onPlay }: StageProps): JSX.Element {
  const ready = video.status === "READY";
  const poster = video.playback.poster_url ?? video.thumbnails?.large ?? null;
  const ratio = video.width && video.height ? video.width / video.height : 16 / 9;
  return (
    <div class="processing-stage on-video" style={{ "--ratio": String(ratio) }}>
      {poster !== null && <img src={poster} alt="" />}
      <button
        type="button"
        class="processing-play"
        aria-label={ready ? `Play ${video.title}` : "Play (video is still processing)"}
        aria-disabled={!ready}
        data-testid={ready ? "play-ready" : "play-disabled"}
        onClick={() => (ready ? onPlay() : toast("Video is still processing"))}
      >
        <Play size={32} fill="currentColor" />
      </button>
    </div>
  );
}

function Waiting({ view, video }: { view: VideoView; video: Video }): JSX.Element {
  const generating = video.status === "TRANSCODING" && view.progress !== null;
  return (
    <>
      <h1>{generating ? "Generating playable version" : "Video processing"}</h1>
      <p class="soft">This may take a few minutes</p>
      <Measured view={view} status={video.status} />
      <p class="soft processing-advice">
        You do not have to wait here: go back to your videos and check later. Processing goes on.
      </p>
      <div class="state-actions">
        <LinkButton href="/studio" icon={<Clapperboard size={18} />}>
          Your videos
        </LinkButton>
      </div>
    </>
  );
}

function Ready({ onPlay }: { onPlay(): void }): JSX.Element {
  return (
    <div data-testid="processing-ready" class="processing-ready" role="status">
      <h1>Your video is ready</h1>
      <p class="soft">It is in the feed now, for everybody who may watch it.</p>
      <div class="state-actions">
        <Button weight="primary" icon={<Play size={18} />} onClick={onPlay}>
          Play it
        </Button>
        <LinkButton href="/">To the feed</LinkButton>
      </div>
    </div>
  );
}

/** Ask for another try of a failed video; the outcome is said in a toast. */
export async function retryProcessing(id: string): Promise<boolean> {
  try {
    await retryVideo(id);
    toast("Trying again.");
    return true;
  } catch (error) {
    toast(explain(error));
    return false;
  }
}

function Failed({ video, reload }: { video: Video; reload(): void }): JSX.Element {
  const [busy, setBusy] = useState(false);
  const retry = async (): Promise<void> => {
    setBusy(true);
    if (await retryProcessing(video.id)) reload();
    setBusy(false);
  };
  return (
    <div role="alert" class="processing-ready">
      <h1 class="processing-failed">
        <TriangleAlert size={24} aria-hidden="true" /> Processing failed
      </h1>
      <p class="soft">{video.fail_reason ?? "The server did not say why."}</p>
      {video.fail_code && <p class="processing-code">{video.fail_code}</p>}
      <div class="state-actions">
        <Button weight="primary" icon={<RotateCw size={18} />} disabled={busy} onClick={() => void retry()}>
          Try again
        </Button>
        <LinkButton href="/upload">Upload another file</LinkButton>
      </div>
    </div>
  );
}

/** From the last byte to READY (Q21-Q26): complete at every moment, and never ahead of the truth. */
export function Processing({ view, video, onPlay }: { view: VideoView; video: Video; onPlay(): void }): JSX.Element {
  return (
    <div class="page processing" data-testid="processing" data-status={video.status}>
      <PosterStage video={video} onPlay={onPlay} />
      <div class="processing-text">
        <p class="processing-title">{video.title}</p>
        {isProcessing(video) && <Waiting view={view} video={video} />}
        {video.status === "READY" && <Ready onPlay={onPlay} />}
        {video.status === "FAILED" && <Failed video={video} reload={view.reload} />}
      </div>
    </div>
  );
}
