import type { Policy } from "../api/types";
import { formatBytes, formatList } from "./format";

/** Containers told apart by their first bytes, as the server does; names as in the upload policies. */
export type Container = "mp4" | "mov" | "3gp" | "webm" | "mkv" | "avi" | "wmv";

/** The types that the server compares with what it finds; of no other container a source may be. */
export const MIME: Readonly<Partial<Record<Container, string>>> = {
  mp4: "video/mp4",
  mov: "video/quicktime",
  "3gp": "video/3gpp",
  webm: "video/webm",
  avi: "video/x-msvideo",
  wmv: "video/x-ms-wmv",
};

const EBML = [0x1a, 0x45, 0xdf, 0xa3];
const ASF = [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11];
/** Top-level boxes with which a QuickTime file may start when it has no `ftyp`. */
const QUICKTIME_BOXES = new Set(["moov", "mdat", "wide", "free", "skip", "pnot"]);
/** Enough for the EBML header of Matroska, where DocType may follow other elements. */
export const HEAD_BYTES = 4096;

function ascii(head: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...head.subarray(start, end));
}

function startsWith(head: Uint8Array, bytes: readonly number[]): boolean {
  return bytes.every((byte, i) => head[i] === byte);
}

/** The container of a file from its first bytes; null when it is none that anybody accepts (A3). */
export function sniffContainer(head: Uint8Array): Container | null {
  const box = ascii(head, 4, 8);
  if (box === "ftyp") {
    const brand = ascii(head, 8, 12);
    if (brand === "qt  ") return "mov";
    return brand.startsWith("3g") ? "3gp" : "mp4";
  }
  if (QUICKTIME_BOXES.has(box)) return "mov";
  if (startsWith(head, EBML)) return ascii(head, 0, head.length).includes("webm") ? "webm" : "mkv";
  if (ascii(head, 0, 4) === "RIFF" && ascii(head, 8, 11) === "AVI") return "avi";
  if (startsWith(head, ASF)) return "wmv";
  return null;
}

/** A reason not to send a file, in the codes that the server would use (O3). */
export interface Refusal {
  code: "INVALID_FORMAT" | "FILE_TOO_LARGE" | "CORRUPTED_FILE";
  message: string;
}

/** Format and size against a policy before the first byte is sent (Q1); null when it may go. */
export function checkFile(size: number, head: Uint8Array, policy: Policy): Refusal | null {
  if (size === 0) return { code: "CORRUPTED_FILE", message: "This file is empty. Choose another one." };
  const container = sniffContainer(head);
  const allowed = policy.formats.map((format) => format.toLowerCase());
  if (container === null || !allowed.includes(container)) {
    const found = container === null ? "This is not a video file we know" : `This is ${container.toUpperCase()}`;
    const list = formatList(policy.formats.map((f) => f.toUpperCase()), "or");
    return { code: "INVALID_FORMAT", message: `${found}. Choose ${list}.` };
  }
  if (size > policy.max_bytes) {
    return {
      code: "FILE_TOO_LARGE",
      message: `This file has ${formatBytes(size)}; the limit is ${formatBytes(policy.max_bytes)}.`,
    };
  }
  return null;
}

/** The first policy that accepts the file, else the default policy with its refusal. */
export function choosePolicy(
  size: number,
  head: Uint8Array,
  policies: readonly Policy[],
): { policy: Policy; refusal: Refusal | null } {
  const fitting = policies.find((policy) => checkFile(size, head, policy) === null);
  const policy = fitting ?? policies[0];
  if (policy === undefined) throw new Error("the server named no upload policy");
  return { policy, refusal: fitting ? null : checkFile(size, head, policy) };
}

/** Longer than the policy allows? Null when fine or unknown: the server has the last word. */
export function checkDuration(seconds: number | null, policy: Policy): string | null {
  if (seconds === null || policy.max_seconds === null || seconds <= policy.max_seconds) return null;
  return `This video lasts ${Math.ceil(seconds)} seconds; the limit is ${policy.max_seconds}. Trim it and choose it again.`;
}
