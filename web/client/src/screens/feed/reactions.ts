import { recordShare, sendFeedback, setLiked, setSaved } from "../../api/endpoints";
import type { FeedbackKind } from "../../api/endpoints";
import { explain } from "../../api/errors";
import { session } from "../../api/session";
import { copyText } from "../../lib/clipboard";
import { navigate } from "../../router";
import { toast } from "../../ui/toasts";

/** What the buttons beside a video need to know of it. */
export interface Reactable {
  id: string;
  title: string;
  liked?: boolean;
  saved?: boolean;
  like_count: number;
  share_count: number;
}

type Patch = (id: string, change: Partial<Reactable>) => void;

/** True when somebody is signed in; else offer to, and say for what. */
export function requireAccount(purpose: string): boolean {
  if (session.get() !== null) return true;
  toast(`Sign in to ${purpose}.`, {
    label: "Sign in",
    run: () => navigate(`/login?next=${encodeURIComponent(location.pathname)}`),
  });
  return false;
}

/** Shown at once, taken back when the server refuses. */
export async function like(video: Reactable, liked: boolean, patch: Patch): Promise<void> {
  if ((video.liked ?? false) === liked || !requireAccount("like videos")) return;
  patch(video.id, { liked, like_count: Math.max(0, video.like_count + (liked ? 1 : -1)) });
  try {
    const answer = await setLiked(video.id, liked);
    patch(video.id, { liked: answer.liked, like_count: answer.like_count });
  } catch (error) {
    patch(video.id, { liked: !liked, like_count: video.like_count });
    toast(explain(error));
  }
}

export async function save(video: Reactable, saved: boolean, patch: Patch): Promise<void> {
  if (!requireAccount("save videos")) return;
  patch(video.id, { saved });
  try {
    await setSaved(video.id, saved);
    toast(saved ? "Saved." : "No longer saved.");
  } catch (error) {
    patch(video.id, { saved: !saved });
    toast(explain(error));
  }
}

export function linkOf(id: string): string {
  return `${location.origin}/v/${id}`;
}

export function copyLink(id: string): Promise<boolean> {
  return copyText(linkOf(id), "Link copied.");
}

/** Hand the link to the system's share sheet, or to the clipboard, and count the share when it happened. */
export async function share(video: Reactable, patch: Patch): Promise<void> {
  const native = "share" in navigator && matchMedia("(pointer: coarse)").matches;
  if (native) {
    try {
      await navigator.share({ title: video.title, url: linkOf(video.id) });
    } catch {
      return;
    }
  } else if (!(await copyLink(video.id))) return;
  if (session.get() === null) return;
  try {
    patch(video.id, { share_count: (await recordShare(video.id)).share_count });
  } catch {
    // The link is out; only its counting failed, and nobody can do anything about it.
  }
}

/** Tell the feed, unless it is undone in time: nothing is sent before the offer to undo has gone. */
export function giveFeedback(id: string, kind: FeedbackKind, text: string, undo: () => void): void {
  let settled = false;
  const send = (keepalive: boolean): void => {
    if (settled) return;
    settled = true;
    removeEventListener("pagehide", leave);
    sendFeedback(id, kind, keepalive).catch((error: unknown) => toast(explain(error)));
  };
  const leave = (): void => send(true);
  addEventListener("pagehide", leave);
  const takeBack = (): void => {
    settled = true;
    removeEventListener("pagehide", leave);
    undo();
  };
  toast(text, { label: "Undo", run: takeBack }, () => send(false));
}
