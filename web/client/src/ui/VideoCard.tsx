import type { ComponentChildren, JSX } from "preact";
import { Clapperboard } from "lucide-preact";
import type { Video, VideoStatus } from "../api/types";
import { counted, formatAgo, formatClock } from "../lib/format";
import "./video-card.css";

/** The lifecycle in the words of a person (Q10: nothing but the server's own states). */
export const STATUS_WORDS: Readonly<Record<VideoStatus, string>> = {
  DRAFT: "Draft",
  UPLOADING: "Uploading",
  UPLOADED: "Waiting for processing",
  TRANSCODING: "Processing",
  READY: "Ready",
  FAILED: "Failed",
};

interface VideoCardProps {
  video: Video;
  /** Show the state of the own video, and not only what everybody sees. */
  own?: boolean;
  children?: ComponentChildren;
}

/** A video in a list. */
export function VideoCard({ video, own, children }: VideoCardProps): JSX.Element {
  const picture = video.playback.poster_url ?? video.thumbnails?.medium ?? null;
  const working = video.status === "UPLOADED" || video.status === "TRANSCODING";
  return (
    <article class="card" data-video-id={video.id} data-status={video.status}>
      <a class="card-picture" href={`/v/${video.id}`} aria-label={video.title}>
        {picture === null ? <Clapperboard size={32} aria-hidden="true" /> : <img src={picture} alt="" loading="lazy" />}
        {video.duration_seconds !== null && (
          <span class="card-time tabular">{formatClock(Math.round(video.duration_seconds))}</span>
        )}
        {own && (
          <span class="card-status" data-status={video.status}>
            {STATUS_WORDS[video.status]}
            {working && video.progress ? ` ${Math.floor(video.progress)} %` : ""}
          </span>
        )}
      </a>
      <a class="card-title" href={`/v/${video.id}`} tabIndex={-1} aria-hidden="true">
        {video.title}
      </a>
      <p class="card-meta tabular">
        {video.status === "READY" && `${counted(video.view_count, "view")} · ${counted(video.like_count, "like")} · `}
        {formatAgo(video.created_at, Date.now())}
      </p>
      {children}
    </article>
  );
}

export function CardSkeletons({ count = 6 }: { count?: number }): JSX.Element {
  return (
    <div class="cards" role="status" aria-busy="true" aria-label="Loading">
      {Array.from({ length: count }, (_, i) => (
        <div key={i}>
          <div class="skeleton card-picture" />
          <div class="skeleton" style={{ width: "80%", height: "16px", marginTop: "12px" }} />
        </div>
      ))}
    </div>
  );
}
