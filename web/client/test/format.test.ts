import { expect, test } from "vitest";
import { counted, formatAgo, formatBytes, formatClock, formatCount, formatDuration, formatList } from "../src/lib/format";

test("bytes are binary multiples, as the limits are counted (X3)", () => {
  expect(formatBytes(524_288_000)).toBe("500 MB");
  expect(formatBytes(1_610_612_736)).toBe("1.5 GB");
  expect(formatBytes(0)).toBe("0 B");
  expect(formatBytes(1536)).toBe("1.5 KB");
});

test("clocks, durations, counts and lists read as people write them", () => {
  expect(formatClock(75)).toBe("1:15");
  expect(formatClock(3700)).toBe("1:01:40");
  expect(formatClock(Number.NaN)).toBe("0:00");
  expect(formatDuration(180)).toBe("3 minutes");
  expect(formatDuration(61)).toBe("1 minute 1 second");
  expect(formatCount(18_234)).toBe("18.2K");
  expect(counted(1, "view")).toBe("1 view");
  expect(counted(0, "like")).toBe("0 likes");
  expect(formatList(["MP4", "WebM", "MOV"], "or")).toBe("MP4, WebM or MOV");
});

test("ages step from minutes to years and never lie in the future", () => {
  const now = Date.parse("2026-01-10T12:00:00Z");
  expect(formatAgo("2026-01-10T12:00:30Z", now)).toBe("just now");
  expect(formatAgo("2026-01-10T11:55:00Z", now)).toBe("5 minutes ago");
  expect(formatAgo("2026-01-09T12:00:00Z", now)).toBe("yesterday");
  expect(formatAgo("no date", now)).toBe("");
});
