import { expect, test } from "vitest";
import { ago, bars, cell, measures } from "../src/lib/chart";
import { mayAnalyse } from "../src/api/analyst";
import { parseRoute } from "../src/router";

const COLUMNS = ["hour", "video_id", "rate", "viewers"];
const ROWS = [
  [9, "a", 0.5, 3],
  [9, "b", null, 1],
];

test("charts draw the last measure first and label bars with the rest", () => {
  expect(measures(COLUMNS, ROWS)).toEqual([3, 2, 0]);
  expect(bars(COLUMNS, ROWS, 2)).toEqual([
    { label: "9 · a", value: 0.5 },
    { label: "9 · b", value: 0 },
  ]);
  expect(bars(["n", "m"], [[1, 2]], 1)).toEqual([{ label: "1", value: 2 }]);
  expect(bars(["n"], [[1]], 0)).toEqual([{ label: "", value: 1 }]);
  expect(measures(["a"], [["x"], [null]])).toEqual([]);
});

test("values of any kind are text", () => {
  expect([null, 1.5, true, "x", [1], { a: 1 }].map(cell)).toEqual(["", "1.5", "true", "x", "[1]", '{"a":1}']);
});

test("freshness is said in words", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  const at = (seconds: number): string => ago(new Date(now - seconds * 1000).toISOString(), now);
  expect([0, 60, 600, 7200, 400_000].map(at)).toEqual(["now", "60 s ago", "10 min ago", "2 h ago", "5 days ago"]);
  expect(ago(null, now)).toBe("never");
});

test("analysts and operators have the page, nobody else", () => {
  expect(parseRoute("/analyst")).toEqual({ name: "analyst" });
  expect(["analyst", "operator", "user", "creator", undefined].map(mayAnalyse)).toEqual([true, true, false, false, false]);
});
