import { call } from "./http";
import { closeSession, openSession } from "./session";
import type { Session } from "./session";
import type * as T from "./types";

/** Every route this client uses, one function each. */

export async function register(username: string, email: string, password: string): Promise<Session> {
  const body = { username, email, password };
  return openSession(await call<T.SessionAnswer>("POST", "/api/v1/auth/register", { body, anonymous: true }), Date.now());
}

export async function login(username: string, password: string): Promise<Session> {
  const body = { username, password };
  return openSession(await call<T.SessionAnswer>("POST", "/api/v1/auth/login", { body, anonymous: true }), Date.now());
}

/** End the session here at once, and at the server when it can be reached. */
export async function logout(): Promise<void> {
  try {
    await call<void>("POST", "/api/v1/auth/logout");
  } finally {
    closeSession();
  }
}

export function getFeed(cursor: string | null, limit: number, signal?: AbortSignal): Promise<T.FeedPage> {
  return call("GET", "/api/v1/feed", { query: { profile: "blend", limit, cursor }, ...(signal ? { signal } : {}) });
}

export const getVideo = (id: string): Promise<T.Video> => call("GET", `/api/v1/videos/${encodeURIComponent(id)}`);

export const getEncoding = (id: string): Promise<T.Encoding> =>
  call("GET", `/api/v1/videos/${encodeURIComponent(id)}/encoding`);

export const listOwnVideos = (cursor: string | null): Promise<T.VideoList> =>
  call("GET", "/api/v1/videos", { query: { limit: 24, cursor } });

/** A person of this server by user name. */
export const getUser = (username: string): Promise<T.PublicUser> =>
  call("GET", `/api/v1/users/@${encodeURIComponent(username)}`);

/** What the world may see of somebody's videos, newest first. */
export const listVideosOf = (userId: string, cursor: string | null): Promise<T.VideoList> =>
  call("GET", `/api/v1/users/${encodeURIComponent(userId)}/videos`, { query: { limit: 24, cursor } });

export const retryVideo = (id: string): Promise<unknown> => call("POST", `/api/v1/videos/${encodeURIComponent(id)}/retry`);

export const deleteVideo = (id: string): Promise<unknown> => call("DELETE", `/api/v1/videos/${encodeURIComponent(id)}`);

const captions = (id: string): string => `/api/v1/videos/${encodeURIComponent(id)}/captions`;
const captionsIn = (id: string, language: string): string => `${captions(id)}/${encodeURIComponent(language)}`;

export const listCaptions = (id: string): Promise<T.CaptionList> => call("GET", captions(id));

/** The type is told by the name: browsers know none for SubRip. */
export const putCaption = (id: string, language: string, file: File): Promise<T.Caption> => {
  const type = file.name.toLowerCase().endsWith(".srt") ? "application/x-subrip" : "text/vtt";
  return call("PUT", captionsIn(id, language), { raw: new Blob([file], { type }) });
};

export const deleteCaption = (id: string, language: string): Promise<void> => call("DELETE", captionsIn(id, language));

export const getUploadLimits = (): Promise<T.UploadLimits> => call("GET", "/api/v1/uploads/policies");

const post = (id: string, verb: string): string => `/api/v1/posts/${encodeURIComponent(id)}/${verb}`;

export const setLiked = (id: string, liked: boolean): Promise<T.LikeAnswer> =>
  call(liked ? "POST" : "DELETE", post(id, "like"));

export const setSaved = (id: string, saved: boolean): Promise<T.SaveAnswer> =>
  call(saved ? "POST" : "DELETE", post(id, "save"));

export const recordShare = (id: string): Promise<T.ShareAnswer> => call("POST", post(id, "share"), { body: {} });

export type FeedbackKind = "not_interested" | "less" | "more";

export const sendFeedback = (videoId: string, kind: FeedbackKind, keepalive = false): Promise<void> =>
  call("POST", "/api/v1/feed/feedback", { body: { video_id: videoId, kind }, keepalive });

export const sendEvents = (events: readonly T.WatchEvent[], keepalive: boolean): Promise<unknown> =>
  call("POST", "/api/v1/events", { body: { events }, keepalive });
