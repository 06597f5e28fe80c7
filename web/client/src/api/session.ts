import { createStore } from "../lib/store";
import { readJson, writeJson } from "../lib/storage";
import type { SessionAnswer, User } from "./types";

/** Who is signed in here, and with what. */
export interface Session {
  user: User;
  accessToken: string;
  refreshToken: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

const KEY = "freewill.session";

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
    expiresAt: nowMs + answer.expires_in * 1000,
  };
  writeJson(KEY, opened);
  session.set(opened);
  return opened;
}

export function closeSession(): void {
  writeJson(KEY, null);
  session.set(null);
}
