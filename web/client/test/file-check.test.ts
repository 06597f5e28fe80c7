import { existsSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { expect, test } from "vitest";
import type { Policy } from "../src/api/types";
import { checkDuration, checkFile, choosePolicy, HEAD_BYTES, sniffContainer } from "../src/lib/file-check";

const SHORT: Policy = { name: "short", max_bytes: 524_288_000, max_seconds: 180, formats: ["mp4", "webm", "mov"], extensions: [] };
const LONG: Policy = { name: "long", max_bytes: 1_610_612_736, max_seconds: null, formats: ["mov", "mp4", "3gp", "avi", "wmv"], extensions: [] };

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const MP4 = bytes("\0\0\0\x20ftypisom\0\0\0\0");
const MKV = bytes("\x1a\x45\xdf\xa3....matroska");

test("the first bytes tell the container, not the name (A3)", () => {
  expect(sniffContainer(MP4)).toBe("mp4");
  expect(sniffContainer(bytes("\0\0\0\x14ftypqt  "))).toBe("mov");
  expect(sniffContainer(bytes("\0\0\0\x14ftyp3gp4"))).toBe("3gp");
  expect(sniffContainer(bytes("\0\0\0\x08wide\0\0\0\0mdat"))).toBe("mov");
  expect(sniffContainer(bytes("\x1a\x45\xdf\xa3....webm"))).toBe("webm");
  expect(sniffContainer(MKV)).toBe("mkv");
  expect(sniffContainer(bytes("RIFF....AVI LIST"))).toBe("avi");
  expect(sniffContainer(bytes("\x30\x26\xb2\x75\x8e\x66\xcf\x11"))).toBe("wmv");
  expect(sniffContainer(bytes("just a text file"))).toBeNull();
});

test("a file is refused with the server's code before a byte is sent (Q1, O3)", () => {
  expect(checkFile(0, new Uint8Array(), SHORT)?.code).toBe("CORRUPTED_FILE");
  expect(checkFile(10, MKV, SHORT)?.code).toBe("INVALID_FORMAT");
  expect(checkFile(10, bytes("RIFF....AVI "), SHORT)?.code).toBe("INVALID_FORMAT");
});

test("exactly the size limit passes, one byte more does not (A4)", () => {
  expect(checkFile(SHORT.max_bytes, MP4, SHORT)).toBeNull();
  expect(checkFile(SHORT.max_bytes + 1, MP4, SHORT)?.code).toBe("FILE_TOO_LARGE");
});

test("the first policy that takes the file is chosen, the default one explains a refusal (X1)", () => {
  expect(choosePolicy(10, MP4, [SHORT, LONG]).policy.name).toBe("short");
  expect(choosePolicy(SHORT.max_bytes + 1, MP4, [SHORT, LONG]).policy.name).toBe("long");
  expect(choosePolicy(10, bytes("RIFF....AVI "), [SHORT, LONG]).policy.name).toBe("long");
  expect(choosePolicy(10, MKV, [SHORT, LONG])).toMatchObject({ policy: SHORT, refusal: { code: "INVALID_FORMAT" } });
});

test("a duration is only refused when it is known and over the limit", () => {
  expect(checkDuration(180, SHORT)).toBeNull();
  expect(checkDuration(181, SHORT)).toContain("180");
  expect(checkDuration(null, SHORT)).toBeNull();
  expect(checkDuration(9999, LONG)).toBeNull();
});

const shared = `${process.env.FREEWILL_SHARED ?? "../../../shared"}/media/clips`;

test.skipIf(!existsSync(shared) && !process.env.CI)("real clips are told apart as their names promise", () => {
  for (const name of readdirSync(shared)) {
    const head = new Uint8Array(HEAD_BYTES);
    const read = readSync(openSync(`${shared}/${name}`, "r"), head, 0, Math.min(HEAD_BYTES, statSync(`${shared}/${name}`).size), 0);
    const extension = name.split(".").pop()!.toLowerCase();
    const found = sniffContainer(head.subarray(0, read));
    // QuickTime brands occur in files named .mp4 and the other way round: both are on every list.
    const family = (c: string | null): string | null => (c === "mov" || c === "mp4" ? "mov/mp4" : c);
    expect(family(found), name).toBe(family(extension));
  }
});
