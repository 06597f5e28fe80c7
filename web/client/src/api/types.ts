/** The shapes this client reads. Names are those of the HTTP API. */

export interface User {
  id: string;
  username: string;
  display_name?: string | null;
  role?: string;
}

export interface SessionAnswer {
  user: User;
  access_token: string;
  refresh_token: string;
  expires_in: number;
}

export type VideoStatus = "DRAFT" | "UPLOADING" | "UPLOADED" | "TRANSCODING" | "READY" | "FAILED";

export interface Thumbnails {
  small: string | null;
  medium: string | null;
  large: string | null;
}

export interface Playback {
  ready: boolean;
  stream_url: string | null;
  hls_url: string | null;
  mp4_url: string | null;
  poster_url: string | null;
  qualities: readonly unknown[];
}

export interface Video {
  id: string;
  owner_id: string;
  title: string;
  description: string;
  tags: string[];
  status: VideoStatus;
  visibility?: string;
  fail_reason: string | null;
  fail_code: string | null;
  duration_seconds: number | null;
  width: number | null;
  height: number | null;
  progress: number | null;
  created_at: string;
  owner?: Creator | null;
  thumbnails: Thumbnails | null;
  playback: Playback;
  view_count: number;
  like_count: number;
  comment_count: number;
  share_count: number;
  save_count?: number;
  liked?: boolean;
  saved?: boolean;
}

export interface Creator {
  id: string;
  username: string;
}

export interface Signal {
  value: number;
  weight: number;
}

export interface FeedItem {
  id: string;
  title: string;
  description: string;
  tags: string[];
  creator: Creator;
  duration_seconds: number | null;
  width: number | null;
  height: number | null;
  created_at: string;
  thumbnails: Thumbnails | null;
  playback: Playback;
  view_count: number;
  like_count: number;
  comment_count: number;
  share_count: number;
  save_count?: number;
  liked?: boolean;
  saved?: boolean;
  score: number;
  reason: string;
  signals: Record<string, Signal>;
}

export interface FeedPage {
  items: FeedItem[];
  next_cursor: string | null;
  profile: string;
  degraded: boolean;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export interface Policy {
  name: string;
  max_bytes: number;
  max_seconds: number | null;
  formats: string[];
  extensions: string[];
}

export interface UploadLimits {
  items: Policy[];
  max_title: number;
  max_description: number;
  max_tags: number;
}

export interface Encoding {
  status: string;
  progress: number | null;
  stage: string | null;
}

/** Counters after an interaction; a server may leave out those that did not change. */
export interface Counters {
  like_count?: number;
  share_count?: number;
  save_count?: number;
}

export type WatchAction = "watch_start" | "watch_25" | "watch_50" | "watch_75" | "watch_complete";

export interface WatchEvent {
  event_id: string;
  video_id: string;
  action: WatchAction;
  watch_seconds: number;
  bitrate: string | null;
  device: "web";
  occurred_at: string;
}
