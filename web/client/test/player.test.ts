import { expect, test } from "vitest";
import { assignSlots, planWindow } from "../src/player/pool-plan";
import { captionTrackFor, captionsShown } from "../src/player/captions";
import { capFor, levelFor, offeredQualities, qualityName } from "../src/player/qualities";
import { WatchTracker } from "../src/player/watch-tracker";

test("forward, the next two slides are prepared; after a step back, one on each side", () => {
  expect(planWindow(4, "forward", 20)).toEqual([4, 5, 6]);
  expect(planWindow(4, "backward", 20)).toEqual([4, 3, 5]);
  expect(planWindow(0, "backward", 20)).toEqual([0, 1, 2]);
  expect(planWindow(19, "forward", 20)).toEqual([19]);
  expect(planWindow(20, "forward", 20)).toEqual([]);
  expect(planWindow(0, "forward", 0)).toEqual([]);
});

test("slots keep the slides that stay, and three elements serve any number of swipes", () => {
  expect(assignSlots([null, null, null], ["a", "b", "c"])).toEqual(["a", "b", "c"]);
  expect(assignSlots(["a", "b", "c"], ["b", "c", "d"])).toEqual(["d", "b", "c"]);
  expect(assignSlots(["a", "b", "c"], ["c"])).toEqual([null, null, "c"]);
  let held: (string | null)[] = [null, null, null];
  for (let i = 0; i < 200; i += 1) {
    const wanted = planWindow(i, "forward", 202).map(String);
    held = assignSlots(held, wanted);
    expect([...held].sort()).toEqual([...wanted].sort());
  }
});

const LEVELS = [
  { width: 640, height: 360, bitrate: 600_000 },
  { width: 1280, height: 720, bitrate: 2_500_000 },
  { width: 854, height: 480, bitrate: 1_200_000 },
];

test("rungs go by the short side, whatever way the picture stands", () => {
  expect(offeredQualities(LEVELS)).toEqual([720, 480, 360]);
  expect(offeredQualities([{ width: 720, height: 1280, bitrate: 1 }])).toEqual([720]);
  expect(qualityName(718)).toBe("720p");
  expect(qualityName(488)).toBe("480p");
  expect(qualityName(600)).toBe("600p");
  expect(levelFor("auto", LEVELS)).toBe(-1);
  expect(levelFor(480, LEVELS)).toBe(2);
  expect(levelFor(1080, LEVELS)).toBe(-1);
});

test("saving data caps at 1.5 Mbit/s, or at the lowest there is (Q17)", () => {
  expect(capFor(false, LEVELS)).toBe(-1);
  expect(capFor(true, LEVELS)).toBe(2);
  expect(capFor(true, [{ width: 1, height: 1, bitrate: 9_000_000 }])).toBe(0);
  expect(capFor(true, [])).toBe(-1);
});

function watch(tracker: WatchTracker, from: number, to: number): string[] {
  const actions: string[] = [];
  for (let t = from; t <= to; t += 0.25) actions.push(...tracker.at(t).map((step) => step.action));
  return actions;
}

test("each watch step is reported once, in order, over any number of loops (F2)", () => {
  const tracker = new WatchTracker(10);
  expect(watch(tracker, 0, 9.75)).toEqual(["watch_start", "watch_25", "watch_50", "watch_75", "watch_complete"]);
  expect(watch(tracker, 0, 9.75)).toEqual([]);
  expect(tracker.watchSeconds).toBeCloseTo(19.75, 1);
});

test("a short clip that loops between two updates is complete", () => {
  const tracker = new WatchTracker(1);
  tracker.at(0.1);
  tracker.at(0.8);
  expect(tracker.at(0.05).map((step) => step.action)).toContain("watch_complete");
});

test("skipped time is not watched time", () => {
  const tracker = new WatchTracker(100);
  watch(tracker, 0, 2);
  tracker.seeked(90);
  const steps = tracker.at(90.2);
  expect(steps.at(-1)).toMatchObject({ action: "watch_75" });
  expect(tracker.watchSeconds).toBeCloseTo(2.2, 1);
  tracker.seeked(0);
  expect(tracker.at(0.2)).toEqual([]);
});

test("captions show while the sound is off, unless somebody chose otherwise", () => {
  expect([captionsShown("muted", true), captionsShown("muted", false)]).toEqual([true, false]);
  expect([captionsShown("on", false), captionsShown("off", true)]).toEqual([true, false]);
  const there = ["de", "pt-BR", "en"];
  expect(captionTrackFor(["en-GB", "de"], there)).toBe(2);
  expect(captionTrackFor(["PT-br"], there)).toBe(1);
  expect(captionTrackFor(["fr"], there)).toBe(0);
  expect(captionTrackFor(["fr"], [])).toBe(-1);
});
