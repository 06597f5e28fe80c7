import { ApiError, networkError, parseError } from "./errors";
import { closeSession, openSession, readStoredSession, session } from "./session";
import type { Session } from "./session";
import type { SessionAnswer } from "./types";

export interface RequestOptions {
  body?: unknown;
  /** A body that is no JSON, with its type. */
  raw?: Blob;
  query?: Readonly<Record<string, string | number | null | undefined>>;
  signal?: AbortSignal;
  /** Let the request outlive the page (at most 64 kB of body). */
  keepalive?: boolean;
  /** Send no token, even when signed in. */
  anonymous?: boolean;
}

function withQuery(path: string, query: RequestOptions["query"]): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined) params.set(name, String(value));
  }
  const text = params.toString();
  return text === "" ? path : `${path}?${text}`;
}

async function send(method: string, path: string, options: RequestOptions, token: string | null): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  const init: RequestInit = { method, headers, keepalive: options.keepalive ?? false };
  if (options.signal) init.signal = options.signal;
  if (options.raw !== undefined) {
    headers["Content-Type"] = options.raw.type;
    init.body = options.raw;
  } else if (options.body !== undefined) {
    headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(options.body);
  }
  try {
    return await fetch(withQuery(path, options.query), init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw networkError();
  }
}

async function renew(old: Session): Promise<Session | null> {
  // The lock holds across tabs: two uses of one refresh token would end the session.
  return navigator.locks.request("freewill.renew", async () => {
    const stored = readStoredSession();
    if (stored === null) return null;
    if (stored.refreshToken !== old.refreshToken) {
      session.set(stored);
      return stored;
    }
    const answer = await send("POST", "/api/v1/auth/refresh", { body: { refresh_token: old.refreshToken } }, null);
    if (answer.ok) return openSession((await answer.json()) as SessionAnswer, Date.now());
    if (answer.status >= 500 || answer.status === 429) throw parseError(answer.status, await readJson(answer));
    closeSession();
    return null;
  });
}

/** A token that will last for a request; null when nobody is signed in. */
export async function freshToken(): Promise<string | null> {
  const current = session.get();
  if (current === null) return null;
  if (Date.now() < current.renewAt) return current.accessToken;
  return (await renew(current))?.accessToken ?? null;
}

async function readJson(answer: Response): Promise<unknown> {
  try {
    return await answer.json();
  } catch {
    return null;
  }
}

/** One call of the API. Rejects with ApiError, or with AbortError when `signal` says so. */
export async function call<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
  const token = options.anonymous ? null : await freshToken();
  let answer = await send(method, path, options, token);
  const current = session.get();
  if (answer.status === 401 && token !== null && current !== null) {
    // The server's clock or its memory differs from ours: ask for new tokens once.
    const renewed = await renew(current);
    if (renewed !== null) answer = await send(method, path, options, renewed.accessToken);
  }
  if (!answer.ok) throw parseError(answer.status, await readJson(answer));
  if (answer.status === 204) return undefined as T;
  const body = await readJson(answer);
  if (body === null) throw new ApiError("UNKNOWN", answer.status, "The server's answer could not be read.");
  return body as T;
}
