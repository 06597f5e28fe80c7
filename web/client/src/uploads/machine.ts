/**
 * One upload as a machine without hands: `step` says what an event makes of it, `next` what is to be done now.
 * Nothing here reads a file, a clock or the network (A32, A39, Q2-Q8).
 */

/** UPLOADING, RETRYING, PAUSED and FAILED are shown with these words (Q5); the others as sentences. */
export type Phase = "WAITING" | "UPLOADING" | "RETRYING" | "PAUSED" | "CHECKING" | "COMPLETED" | "FAILED" | "CANCELED";

/** The server's words for a session (X9). */
export type SessionState = "INITIATED" | "IN_PROGRESS" | "PAUSED" | "COMPLETED" | "FAILED" | "CANCELED" | "EXPIRED";

export interface Failure {
  code: string;
  message: string;
}

/** A refusal as the machine sees it; `status` 0 is no answer at all. */
export interface Refusal extends Failure {
  status: number;
  details: Readonly<Record<string, unknown>>;
}

export interface Upload {
  readonly phase: Phase;
  readonly size: number;
  readonly sessionId: string | null;
  /** Bytes of every part but the last; 0 before a session told it. */
  readonly partSize: number;
  /** Confirmed parts, ascending. */
  readonly received: readonly number[];
  /** Bytes sent of the part on its way. */
  readonly sent: number;
  /** What the session was when it was last seen; null: look before doing anything. */
  readonly server: SessionState | null;
  /** The person resumed it here: a pause that the server still knows is over. */
  readonly insist: boolean;
  /** Tries that failed since something arrived. */
  readonly attempt: number;
  /** How long to wait before the next try; null: not waiting. */
  readonly waitMs: number | null;
  /** Sessions that ended before they took a part. */
  readonly lost: number;
  readonly needsFile: boolean;
  readonly failure: Failure | null;
  readonly videoId: string | null;
}

export type Action =
  | { do: "open" }
  | { do: "look"; sessionId: string }
  | { do: "pause"; sessionId: string }
  | { do: "resume"; sessionId: string }
  | { do: "cancel"; sessionId: string }
  | { do: "send"; sessionId: string; number: number; start: number; end: number }
  | { do: "finish"; sessionId: string }
  | { do: "wait"; ms: number };

export type Wish = "pause" | "resume" | "cancel" | "retry";

export type Event =
  | { on: Wish | "start" | "waited" | "restored" | "unreadable" | "file" }
  | { on: "opened"; sessionId: string; partSize: number }
  | { on: "seen"; state: SessionState; received: readonly number[]; failCode: string | null }
  | { on: "sending"; bytes: number }
  | { on: "arrived"; number: number }
  | { on: "finished"; videoId: string }
  | { on: "refused"; during: Action["do"]; error: Refusal; dice: number };

export const FIRST_WAIT_MS = 1_000;
export const LONGEST_WAIT_MS = 30_000;
/** A server that answers, but not as it should, is asked this often; one that is away for ever. */
export const MOST_ATTEMPTS = 12;
const MOST_LOST_SESSIONS = 3;
/** A limit over this many seconds is a quota: waiting for it in the page makes no sense. */
const QUOTA_SECONDS = 600;

const WISHES: Readonly<Record<Phase, readonly Wish[]>> = {
  WAITING: ["pause", "cancel"],
  UPLOADING: ["pause", "cancel"],
  RETRYING: ["pause", "cancel"],
  PAUSED: ["resume", "cancel"],
  CHECKING: [],
  COMPLETED: [],
  FAILED: ["retry", "cancel"],
  CANCELED: [],
};

/** The table of buttons (Q6). */
export function may(upload: Upload, wish: Wish): boolean {
  return WISHES[upload.phase].includes(wish) && !(wish === "resume" && upload.needsFile);
}

export function newUpload(size: number): Upload {
  return {
    phase: "WAITING",
    size,
    sessionId: null,
    partSize: 0,
    received: [],
    sent: 0,
    server: null,
    insist: false,
    attempt: 0,
    waitMs: null,
    lost: 0,
    needsFile: false,
    failure: null,
    videoId: null,
  };
}

/** Bytes are on their way, or will be without anybody's help. */
export function isGoing({ phase }: Upload): boolean {
  return phase === "UPLOADING" || phase === "RETRYING" || phase === "CHECKING";
}

export function partCount({ size, partSize }: Upload): number {
  return partSize > 0 ? Math.ceil(size / partSize) : 0;
}

/** First byte and end of a part; parts are counted from 1. */
export function partRange({ size, partSize }: Upload, number: number): [start: number, end: number] {
  return [(number - 1) * partSize, Math.min(size, number * partSize)];
}

function firstMissing(upload: Upload): number | null {
  const there = new Set(upload.received);
  for (let number = 1; number <= partCount(upload); number += 1) if (!there.has(number)) return number;
  return null;
}

function isWhole(upload: Upload): boolean {
  return upload.sessionId !== null && firstMissing(upload) === null;
}

/** Bytes of finished parts, and those sent of the current one (A39). */
export function bytesDone(upload: Upload): number {
  const finished = upload.received.reduce((sum, number) => {
    const [start, end] = partRange(upload, number);
    return sum + end - start;
  }, 0);
  return Math.min(upload.size, finished + upload.sent);
}

/** Doubles from one second to half a minute; the second half of it is thrown with dice in [0, 1). */
export function backoff(attempt: number, dice: number): number {
  const whole = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1));
  return Math.round(whole / 2 + (whole / 2) * dice);
}

/** What is to be done now; null: nothing, until an event. */
export function next(upload: Upload): Action | null {
  const { phase, sessionId, server } = upload;
  if (phase === "CANCELED") return waiting(upload) ?? (sessionId === null ? null : { do: "cancel", sessionId });
  if (phase === "PAUSED" && sessionId !== null && server === "IN_PROGRESS") return { do: "pause", sessionId };
  if (!isGoing(upload)) return null;
  return waiting(upload) ?? forward(upload);
}

function waiting({ waitMs }: Upload): Action | null {
  return waitMs === null ? null : { do: "wait", ms: waitMs };
}

function forward(upload: Upload): Action {
  const { sessionId, server } = upload;
  if (sessionId === null) return { do: "open" };
  if (server === null) return { do: "look", sessionId };
  if (server === "PAUSED") return { do: "resume", sessionId };
  const number = server === "COMPLETED" ? null : firstMissing(upload);
  if (number === null) return { do: "finish", sessionId };
  const [start, end] = partRange(upload, number);
  return { do: "send", sessionId, number, start, end };
}

/** What an event makes of an upload. Events that do not fit change nothing: answers come late. */
export function step(upload: Upload, event: Event): Upload {
  switch (event.on) {
    case "opened":
      return { ...proceed(upload), sessionId: event.sessionId, partSize: event.partSize, server: "IN_PROGRESS", received: [] };
    case "seen":
      return seen(upload, event.state, event.received, event.failCode);
    case "sending":
      return isGoing(upload) ? { ...upload, sent: event.bytes } : upload;
    case "arrived":
      return arrived(upload, event.number);
    case "finished":
      return { ...upload, phase: "COMPLETED", videoId: event.videoId, sent: 0, failure: null, waitMs: null };
    case "refused":
      return refused(upload, event.during, event.error, event.dice);
    default:
      return asked(upload, event.on);
  }
}

function asked(upload: Upload, what: Wish | "start" | "waited" | "restored" | "unreadable" | "file"): Upload {
  const { phase } = upload;
  switch (what) {
    case "start":
      return phase === "WAITING" ? { ...upload, phase: "UPLOADING" } : upload;
    case "waited":
      return { ...upload, waitMs: null };
    case "restored":
      return restored(upload);
    case "unreadable":
      return unreadable(upload);
    case "file":
      return upload.needsFile ? { ...upload, needsFile: false, phase: "WAITING", insist: true } : upload;
  }
  if (!may(upload, what)) return upload;
  if (what === "pause") return halt(upload);
  if (what === "cancel") return { ...upload, phase: "CANCELED", sent: 0, waitMs: null, attempt: 0 };
  return { ...upload, phase: "WAITING", insist: true, failure: null, attempt: 0, waitMs: null, lost: 0 };
}

/** Without its file it waits for the person, unless all of it is there already. */
function unreadable(upload: Upload): Upload {
  const waits = isGoing(upload) || upload.phase === "WAITING" || upload.phase === "PAUSED";
  if (!waits || isWhole(upload)) return upload;
  return { ...halt(upload), needsFile: true };
}

function halt(upload: Upload): Upload {
  return { ...upload, phase: "PAUSED", sent: 0, waitMs: null, attempt: 0, insist: false };
}

/** The page is new: what was on its way may or may not have arrived. */
function restored(upload: Upload): Upload {
  const base = { ...upload, sent: 0, waitMs: null, server: null, attempt: 0 };
  return isGoing(upload) ? { ...base, phase: "WAITING" } : base;
}

/** Something worked. */
function proceed(upload: Upload): Upload {
  const going = isGoing(upload);
  return { ...upload, phase: going ? "UPLOADING" : upload.phase, attempt: 0, sent: 0, waitMs: null, failure: null };
}

function arrived(upload: Upload, number: number): Upload {
  const received = [...new Set([...upload.received, number])].sort((a, b) => a - b);
  const after = { ...proceed(upload), received, insist: false, lost: 0, server: "IN_PROGRESS" as const };
  return checking(after);
}

function checking(upload: Upload): Upload {
  return isGoing(upload) && isWhole(upload) ? { ...upload, phase: "CHECKING" } : upload;
}

function seen(upload: Upload, state: SessionState, received: readonly number[], failCode: string | null): Upload {
  if (upload.phase === "CANCELED") {
    return state === "CANCELED" ? { ...upload, sessionId: null, waitMs: null } : upload;
  }
  switch (state) {
    case "EXPIRED":
      return renewed(upload);
    case "FAILED":
      return over(upload, { code: failCode ?? "FAILED", message: "The server refused the file." });
    case "CANCELED":
      return over(upload, { code: failCode ?? "UPLOAD_CANCELED", message: "The upload was cancelled elsewhere." });
    case "PAUSED":
      if (!upload.insist) return { ...halt(upload), server: state, received };
      return { ...upload, server: state, received, sent: 0 };
    default:
      return checking({ ...upload, server: state === "COMPLETED" ? state : "IN_PROGRESS", received, sent: 0 });
  }
}

/** The session is gone for good: the next one starts from the first part. */
function renewed(upload: Upload): Upload {
  if (upload.lost >= MOST_LOST_SESSIONS) {
    return over(upload, { code: "SESSION_EXPIRED", message: "The server keeps forgetting this upload. Try again later." });
  }
  return { ...upload, ...NO_SESSION, lost: upload.lost + 1 };
}

const NO_SESSION = { sessionId: null, server: null, received: [], sent: 0, waitMs: null } as const;

/** It ended; another try begins with a new session. */
function over(upload: Upload, failure: Failure): Upload {
  return { ...upload, ...NO_SESSION, phase: "FAILED", failure };
}

function isPassing({ status, code, details }: Refusal): boolean {
  const quota = code === "RATE_LIMIT_EXCEEDED" && typeof details.seconds === "number" && details.seconds > QUOTA_SECONDS;
  return !quota && (status === 0 || status === 408 || status === 425 || status === 429 || status >= 500 || code === "CONFLICT");
}

function refused(upload: Upload, during: Action["do"], error: Refusal, dice: number): Upload {
  const passing = isPassing(error);
  if (upload.phase === "CANCELED") {
    // What cannot be told now ends by itself when the session expires.
    if (!passing || upload.attempt >= MOST_ATTEMPTS) return { ...upload, ...NO_SESSION };
    return later(upload, error, dice);
  }
  if (during === "pause" || !isGoing(upload)) return { ...upload, server: null };
  const failure = { code: error.code, message: error.message };
  if (passing) {
    const gaveUp = error.status !== 0 && upload.attempt >= MOST_ATTEMPTS;
    return gaveUp ? { ...upload, phase: "FAILED", failure, server: null, sent: 0 } : later(upload, error, dice);
  }
  if (error.code === "SESSION_EXPIRED" || error.code === "CONTENT_NOT_FOUND") return renewed(upload);
  if (error.code === "INVALID_CHUNK_SEQUENCE" && during === "send") return renewed(upload);
  if (error.status === 401 && during === "send" && upload.attempt < MOST_ATTEMPTS) {
    return later(upload, error, dice); // looking renews the token, or says that nobody is signed in
  }
  if (upload.attempt < MOST_ATTEMPTS && (error.code === "INVALID_STATE_TRANSITION" || error.code === "INVALID_CHUNK_SEQUENCE")) {
    return later(upload, error, dice);
  }
  // Who is signed out finds the session again after signing in.
  return error.status === 401 ? { ...upload, phase: "FAILED", failure, server: null, sent: 0 } : over(upload, failure);
}

function later(upload: Upload, error: Refusal, dice: number): Upload {
  const attempt = upload.attempt + 1;
  const phase = upload.phase === "CANCELED" ? upload.phase : "RETRYING";
  const failure = { code: error.code, message: error.message };
  return { ...upload, phase, attempt, failure, sent: 0, server: null, waitMs: backoff(attempt, dice) };
}
