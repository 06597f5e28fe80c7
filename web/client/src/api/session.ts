import { createStore } from "../lib/store";
import { readJson, writeJson } from "../lib/storage";
import type { SessionAnswer, User } from "./types";

/** Who is signed in here, and with what. */
export interface Session {
  user: User;
  accessToken: string;
  refreshToken: string;
  /** When to renew, in milliseconds since the epoch: early enough that no request ends under way. */
  renewAt: number;
}

const KEY = "freewill.session";
const RENEW_AHEAD_MS = 30_000;

/** Half a minute before the end, but never in the first four fifths of a short life. */
export function renewalTime(nowMs: number, expiresInSeconds: number): number {
  const life = expiresInSeconds * 1000;
  return nowMs + Math.max(life * 0.8, life - RENEW_AHEAD_MS);
}

export const session = createStore<Session | null>(typeof localStorage === "undefined" ? null : readJson<Session>(KEY));

/** Follow other tabs: when one signs in, signs out or renews, its tokens are the living ones. */
export function followOtherTabs(): void {
  addEventListener("storage", (event) => {
    if (event.key === KEY) session.set(readJson<Session>(KEY));
  });
}

/** The session as storage has it now, which another tab may have renewed. */
export function readStoredSession(): Session | null {
  return readJson<Session>(KEY);
}

export function openSession(answer: SessionAnswer, nowMs: number): Session {
  const opened: Session = {
    user: answer.user,
    accessToken: answer.access_token,
    refreshToken: answer.refresh_token,
    renewAt: renewalTime(nowMs, answer.expires_in),
  };
  writeJson(KEY, opened);
  session.set(opened);
  return opened;
}

export function closeSession(): void {
  writeJson(KEY, null);
  session.set(null);
}
