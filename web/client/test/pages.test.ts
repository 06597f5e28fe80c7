import { expect, test } from "vitest";
import { explain, networkError, parseError } from "../src/api/errors";
import { contributions, whyChip, whySentence } from "../src/lib/why";
import { renewalTime } from "../src/api/session";
import { parseRoute, safeNext } from "../src/router";

test("paths lead to screens", () => {
  expect(parseRoute("/")).toEqual({ name: "feed" });
  expect(parseRoute("/upload/")).toEqual({ name: "upload" });
  expect(parseRoute("/v/abc")).toEqual({ name: "video", id: "abc" });
  expect(parseRoute("/@mira")).toEqual({ name: "profile", username: "mira" });
  expect(parseRoute("/@mira@example.org")).toEqual({ name: "profile", username: "mira@example.org" });
  expect(parseRoute("/v/%E0%A4%A")).toEqual({ name: "video", id: "%E0%A4%A" });
  expect(parseRoute("/nowhere")).toEqual({ name: "missing" });
});

test("after signing in only a path of this site is gone to", () => {
  expect(safeNext("?next=/upload")).toBe("/upload");
  expect(safeNext("?next=https://evil.example")).toBe("/");
  expect(safeNext("?next=//evil.example")).toBe("/");
  expect(safeNext("?next=/\\evil.example")).toBe("/");
  expect(safeNext("")).toBe("/");
});

test("errors keep their code, name what happened and what to do (O1)", () => {
  const taken = parseError(400, { error: { code: "USERNAME_TAKEN", message: "x" }, request_id: "r1" });
  expect(taken).toMatchObject({ code: "USERNAME_TAKEN", status: 400, requestId: "r1" });
  expect(explain(taken)).toContain("Choose another one");
  const large = parseError(413, { error: { code: "FILE_TOO_LARGE", message: "too large", details: { limit: 524_288_000 } } });
  expect(explain(large)).toContain("500 MB");
  const unknown = parseError(400, { error: { code: "NEW_CODE", message: "The server's words." } });
  expect(explain(unknown)).toBe("The server's words.");
  expect(parseError(502, null).code).toBe("SERVICE_UNAVAILABLE");
  expect(explain(networkError())).toContain("Check your connection");
});

const SIGNALS = {
  freshness: { value: 0.9, weight: 0.15 },
  similarity: { value: 0.8, weight: 0.45 },
  following: { value: 0, weight: 0 },
};

test("why: contributions are value times weight, largest first, without signals that weigh nothing", () => {
  const bars = contributions(SIGNALS);
  expect(bars.map((bar) => bar.name)).toEqual(["similarity", "freshness"]);
  expect(bars[0]?.points).toBeCloseTo(0.36);
});

test("why: the sentence names what counted, and rules by their name", () => {
  expect(whySentence({ reason: "deep_recall", signals: SIGNALS })).toBe(
    "You see this because it is close to what you have been watching and it is new.",
  );
  expect(whySentence({ reason: "trending", signals: {} })).toContain("popular here");
  expect(whyChip({ reason: "trending", signals: { trending: { value: 0, weight: 1 } } })).toBe("New here");
  expect(whyChip({ reason: "trending", signals: { trending: { value: 0.4, weight: 1 } } })).toBe("Trending");
  expect(whySentence({ reason: "exploration", signals: SIGNALS })).toContain("few people have seen it");
  expect(whyChip({ reason: "deep_recall", signals: SIGNALS })).toBe("Like what you watch");
  expect(whyChip({ reason: "deep_recall", signals: {} })).toBe("Why this video");
});

test("a token is renewed shortly before it ends, a short-lived one not at every request", () => {
  expect(renewalTime(0, 900)).toBe(870_000);
  expect(renewalTime(0, 10)).toBe(8_000);
});
