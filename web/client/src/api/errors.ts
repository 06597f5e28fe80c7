import { formatBytes, formatDuration, formatList } from "../lib/format";

/** A refusal of the server, or the lack of an answer, with a code to decide by and a text to show. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
    readonly details: Readonly<Record<string, unknown>> = {},
    readonly requestId: string | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** The form field that the server names, if any. */
  get field(): string | null {
    return typeof this.details.field === "string" ? this.details.field : null;
  }
}

export const NETWORK = "NETWORK";

export function networkError(): ApiError {
  return new ApiError(NETWORK, 0, "The server cannot be reached. Check your connection and try again.");
}

interface ErrorBody {
  error?: { code?: string; message?: string; details?: Record<string, unknown> };
  request_id?: string;
}

/** The error shape O1, or the best that can be said of an answer without it. */
export function parseError(status: number, body: unknown): ApiError {
  const { error, request_id: requestId } = (body ?? {}) as ErrorBody;
  if (error?.code !== undefined) {
    return new ApiError(error.code, status, error.message ?? error.code, error.details ?? {}, requestId ?? null);
  }
  const busy = status === 502 || status === 503 || status === 504;
  const text = busy ? "The server is not ready. Try again shortly." : `The server answered ${status} without a reason.`;
  return new ApiError(busy ? "SERVICE_UNAVAILABLE" : "UNKNOWN", status, text);
}

type Sentence = (details: Readonly<Record<string, unknown>>) => string | null;

function limitOf(details: Readonly<Record<string, unknown>>, ...names: string[]): number | null {
  const found = names.map((name) => details[name]).find((value) => typeof value === "number");
  return (found as number | undefined) ?? null;
}

/** What happened and what to do, where the server's own sentence leaves the second part out. */
const SENTENCES: Readonly<Record<string, Sentence>> = {
  INVALID_CREDENTIALS: () => "User name or password is wrong. Check both and try again.",
  USERNAME_TAKEN: () => "This user name is taken. Choose another one.",
  EMAIL_TAKEN: () => "This e-mail address already has an account. Sign in instead.",
  INVALID_EMAIL: () => "This does not look like an e-mail address.",
  RATE_LIMIT_EXCEEDED: () => "Too many tries in a short time. Wait a minute, then try again.",
  CORRUPTED_FILE: () => "The file is damaged or holds no video that can be played. Export it again and retry.",
  INVALID_FORMAT: ({ supported }) =>
    Array.isArray(supported)
      ? `This format is not accepted. Use ${formatList(supported.map((s) => String(s).toUpperCase()), "or")}.`
      : null,
  FILE_TOO_LARGE: (details) => {
    const limit = limitOf(details, "limit", "limit_bytes", "max_bytes");
    return limit === null ? null : `The file is too large: the limit is ${formatBytes(limit)}.`;
  },
  DURATION_EXCEEDED: (details) => {
    const limit = limitOf(details, "limit", "limit_seconds", "max_seconds");
    return limit === null ? null : `The video is too long: the limit is ${formatDuration(limit)}. Trim it and retry.`;
  },
};

/** The sentence to show for any failure. */
export function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return "Something went wrong in this page. Reload it and try again.";
  return SENTENCES[error.code]?.(error.details) ?? error.message;
}
