import { describe, expect, test } from "vitest";
import {
  backoff,
  bytesDone,
  LONGEST_WAIT_MS,
  may,
  MOST_ATTEMPTS,
  newUpload,
  next,
  partCount,
  partRange,
  step,
} from "../src/uploads/machine";
import type { Action, Event, Phase, Refusal, SessionState, Upload, Wish } from "../src/uploads/machine";
import { Runner } from "../src/uploads/runner";

const SIZE = 25;
const PART = 10;
const OPENED: Event = { on: "opened", sessionId: "s1", partSize: PART };

function after(upload: Upload, ...events: Event[]): Upload {
  return events.reduce(step, upload);
}

const started = (...events: Event[]): Upload => after(newUpload(SIZE), { on: "start" }, ...events);
const arrived = (number: number): Event => ({ on: "arrived", number });
const seen = (state: SessionState, received: number[] = [], failCode: string | null = null): Event => ({ on: "seen", state, received, failCode });
const refused = (during: Action["do"], code: string, status: number, details: Refusal["details"] = {}): Event => ({
  on: "refused",
  during,
  error: { code, status, message: code, details },
  dice: 1,
});
const lost = refused("send", "NETWORK", 0);

describe("the way of a file", () => {
  test("parts are computed from the size and the part size (Q2, A31)", () => {
    const upload = started(OPENED);
    expect(partCount(upload)).toBe(3);
    expect([1, 2, 3].map((number) => partRange(upload, number))).toEqual([[0, 10], [10, 20], [20, 25]]);
  });

  test("opens, sends the parts in order, finishes (A32)", () => {
    let upload = newUpload(SIZE);
    expect(next(upload)).toBeNull();
    upload = after(upload, { on: "start" });
    expect(next(upload)).toEqual({ do: "open" });
    upload = after(upload, OPENED);
    for (const [number, start, end] of [[1, 0, 10], [2, 10, 20], [3, 20, 25]] as const) {
      expect(upload.phase).toBe("UPLOADING");
      expect(next(upload)).toEqual({ do: "send", sessionId: "s1", number, start, end });
      upload = after(upload, arrived(number));
    }
    expect(upload.phase).toBe("CHECKING");
    expect(next(upload)).toEqual({ do: "finish", sessionId: "s1" });
    upload = after(upload, { on: "finished", videoId: "v1" });
    expect([upload.phase, upload.videoId, next(upload)]).toEqual(["COMPLETED", "v1", null]);
  });

  test("progress is finished parts and the bytes of the current one (A39, Q8)", () => {
    const upload = started(OPENED, arrived(1), { on: "sending", bytes: 4 });
    expect(bytesDone(upload)).toBe(14);
    expect(bytesDone(after(upload, arrived(2)))).toBe(20);
    expect(bytesDone(after(upload, lost))).toBe(10);
    expect(bytesDone(after(upload, arrived(2), arrived(3)))).toBe(SIZE);
  });
});

describe("what fails is tried again", () => {
  test("only the part that failed is sent again, after looking what arrived (A32, Q3)", () => {
    let upload = started(OPENED, arrived(1), lost);
    expect(upload.phase).toBe("RETRYING");
    expect(next(upload)).toEqual({ do: "wait", ms: 1_000 });
    upload = after(upload, { on: "waited" });
    expect(next(upload)).toEqual({ do: "look", sessionId: "s1" });
    upload = after(upload, seen("IN_PROGRESS", [1]));
    expect(upload.phase).toBe("RETRYING");
    expect(next(upload)).toMatchObject({ do: "send", number: 2 });
    upload = after(upload, arrived(2));
    expect([upload.phase, upload.attempt, upload.failure]).toEqual(["UPLOADING", 0, null]);
  });

  test("a part whose answer was lost is not sent twice", () => {
    const upload = started(OPENED, arrived(1), lost, { on: "waited" }, seen("IN_PROGRESS", [1, 2]));
    expect(next(upload)).toMatchObject({ do: "send", number: 3 });
  });

  test("a part that the server lost is sent again", () => {
    const upload = started(OPENED, arrived(1), arrived(2), lost, { on: "waited" }, seen("IN_PROGRESS", [2]));
    expect(next(upload)).toMatchObject({ do: "send", number: 1 });
  });

  test("the wait doubles up to half a minute and is never less than half (Q3)", () => {
    expect([1, 2, 3, 4, 5, 6, 60].map((attempt) => backoff(attempt, 1))).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, LONGEST_WAIT_MS, LONGEST_WAIT_MS]);
    expect(backoff(3, 0)).toBe(2_000);
    expect(backoff(3, 0.5)).toBe(3_000);
  });

  test.each([["NETWORK", 0], ["SERVICE_UNAVAILABLE", 503], ["RATE_LIMIT_EXCEEDED", 429], ["CONFLICT", 409]])("%s passes", (code, status) => {
    expect(started(OPENED, refused("send", code, status)).phase).toBe("RETRYING");
  });

  test("a network that is away is waited for without end, a server that fails is not (Q7)", () => {
    const many = (event: Event): Upload => after(started(OPENED, arrived(1)), ...Array.from({ length: MOST_ATTEMPTS + 1 }, () => event));
    expect(many(lost).phase).toBe("RETRYING");
    const failed = many(refused("send", "STORAGE_ERROR", 500));
    expect([failed.phase, failed.sessionId, failed.received]).toEqual(["FAILED", "s1", [1]]);
    expect(next(after(failed, { on: "retry" }, { on: "start" }))).toEqual({ do: "look", sessionId: "s1" });
  });

  test("a quota is no reason to try every half minute (A24)", () => {
    expect(started(refused("open", "RATE_LIMIT_EXCEEDED", 429, { seconds: 86_400 })).phase).toBe("FAILED");
  });

  test("the lost answer of finishing is asked for again (A37)", () => {
    const whole = started(OPENED, arrived(1), arrived(2), arrived(3));
    let upload = after(whole, refused("finish", "NETWORK", 0), { on: "waited" });
    expect(next(upload)).toMatchObject({ do: "look" });
    upload = after(upload, seen("COMPLETED", [1, 2, 3]));
    expect([upload.phase, next(upload)]).toEqual(["CHECKING", { do: "finish", sessionId: "s1" }]);
  });
});

describe("sessions end", () => {
  const FROM_ANEW = { sessionId: null, received: [] };

  test.each([seen("EXPIRED"), refused("send", "SESSION_EXPIRED", 410), refused("look", "CONTENT_NOT_FOUND", 404), refused("send", "INVALID_CHUNK_SEQUENCE", 400)])(
    "an expired or unknown session is followed by a new one (%#)",
    (event) => {
      const upload = started(OPENED, arrived(1), event);
      expect(upload).toMatchObject(FROM_ANEW);
      expect(next(upload)).toEqual({ do: "open" });
      expect(next(after(upload, { ...OPENED, sessionId: "s2" }))).toMatchObject({ do: "send", sessionId: "s2", number: 1 });
    },
  );

  test("sessions that die before they take a part are not opened for ever", () => {
    const round: Event[] = [OPENED, refused("send", "SESSION_EXPIRED", 410)];
    expect(started(...round, ...round, ...round).phase).toBe("UPLOADING");
    expect(started(...round, ...round, ...round, ...round).phase).toBe("FAILED");
  });

  test.each(["CORRUPTED_FILE", "CHECKSUM_MISMATCH", "DURATION_EXCEEDED", "INFECTED_FILE"])("%s is FAILED with its reason, and tried again with a new session (Q11)", (code) => {
    const upload = started(OPENED, arrived(1), arrived(2), arrived(3), refused("finish", code, 400));
    expect(upload).toMatchObject({ ...FROM_ANEW, phase: "FAILED", failure: { code } });
    expect(next(upload)).toBeNull();
    expect(next(after(upload, { on: "retry" }, { on: "start" }))).toEqual({ do: "open" });
  });

  test("a session that failed or was cancelled elsewhere says so", () => {
    expect(started(OPENED, lost, seen("FAILED", [], "INVALID_FORMAT")).failure?.code).toBe("INVALID_FORMAT");
    expect(started(OPENED, lost, seen("CANCELED")).phase).toBe("FAILED");
  });

  test("a missing part found at the end is sent, not the whole file", () => {
    const upload = started(OPENED, arrived(1), arrived(2), arrived(3), refused("finish", "INVALID_CHUNK_SEQUENCE", 400), { on: "waited" }, seen("IN_PROGRESS", [1, 3]));
    expect(next(upload)).toMatchObject({ do: "send", number: 2 });
  });

  test("a refused token is renewed by looking; who is signed out keeps the session", () => {
    const looking = started(OPENED, refused("send", "TOKEN_EXPIRED", 401));
    expect(looking.phase).toBe("RETRYING");
    expect(after(looking, refused("look", "TOKEN_EXPIRED", 401))).toMatchObject({ phase: "FAILED", sessionId: "s1" });
  });
});

describe("what the person says", () => {
  const WISHES: readonly Wish[] = ["pause", "resume", "cancel", "retry"];
  const TABLE: Readonly<Record<Phase, readonly Wish[]>> = {
    WAITING: ["pause", "cancel"],
    UPLOADING: ["pause", "cancel"],
    RETRYING: ["pause", "cancel"],
    PAUSED: ["resume", "cancel"],
    CHECKING: [],
    COMPLETED: [],
    FAILED: ["cancel", "retry"],
    CANCELED: [],
  };

  test.each(Object.entries(TABLE))("in %s only what the table allows is enabled and does anything (Q6)", (phase, allowed) => {
    const upload: Upload = { ...newUpload(SIZE), phase: phase as Phase };
    expect(WISHES.filter((wish) => may(upload, wish))).toEqual([...allowed].sort((a, b) => WISHES.indexOf(a) - WISHES.indexOf(b)));
    for (const wish of WISHES) if (!allowed.includes(wish)) expect(step(upload, { on: wish })).toBe(upload);
  });

  test("pause stops, tells the server once, and resume goes on with the next part (A30)", () => {
    let upload = started(OPENED, arrived(1), { on: "sending", bytes: 4 }, { on: "pause" });
    expect([upload.phase, upload.sent]).toEqual(["PAUSED", 0]);
    expect(next(upload)).toEqual({ do: "pause", sessionId: "s1" });
    upload = after(upload, seen("PAUSED", [1]));
    expect(next(upload)).toBeNull();
    upload = after(upload, { on: "resume" }, { on: "start" });
    expect(next(upload)).toEqual({ do: "resume", sessionId: "s1" });
    expect(next(after(upload, seen("IN_PROGRESS", [1])))).toMatchObject({ do: "send", number: 2 });
  });

  test("pause works without the server, which is asked when it is resumed", () => {
    const upload = started(OPENED, arrived(1), { on: "pause" }, refused("pause", "NETWORK", 0));
    expect([upload.phase, next(upload)]).toEqual(["PAUSED", null]);
    const resumed = after(upload, { on: "resume" }, { on: "start" });
    expect(next(resumed)).toMatchObject({ do: "look" });
    expect(next(after(resumed, seen("PAUSED", [1])))).toMatchObject({ do: "resume" });
  });

  test("a pause made elsewhere is respected", () => {
    const upload = started(OPENED, arrived(1), lost, { on: "waited" }, seen("PAUSED", [1]));
    expect([upload.phase, next(upload)]).toEqual(["PAUSED", null]);
  });

  test("cancel tells the server, however often that takes, and ends (A30)", () => {
    let upload = started(OPENED, arrived(1), { on: "cancel" });
    expect(next(upload)).toEqual({ do: "cancel", sessionId: "s1" });
    upload = after(upload, refused("cancel", "NETWORK", 0));
    expect([upload.phase, next(upload)]).toEqual(["CANCELED", { do: "wait", ms: 1_000 }]);
    upload = after(upload, { on: "waited" }, seen("CANCELED"));
    expect([upload.phase, upload.sessionId, next(upload)]).toEqual(["CANCELED", null, null]);
  });

  test("a session that opens after the cancel is cancelled, too", () => {
    expect(next(started({ on: "cancel" }, OPENED))).toEqual({ do: "cancel", sessionId: "s1" });
  });

  test("late answers change nothing that was decided since", () => {
    const paused = started(OPENED, { on: "pause" });
    expect(step(paused, { on: "sending", bytes: 5 })).toBe(paused);
    expect(after(paused, arrived(1))).toMatchObject({ phase: "PAUSED", received: [1] });
    expect(after(paused, lost).phase).toBe("PAUSED");
  });
});

describe("a new page", () => {
  test("goes on from the last confirmed part, once the server said which (Q7)", () => {
    const upload = started(OPENED, arrived(1), { on: "sending", bytes: 7 }, { on: "restored" });
    expect([upload.phase, bytesDone(upload)]).toEqual(["WAITING", 10]);
    expect(next(after(upload, { on: "start" }))).toEqual({ do: "look", sessionId: "s1" });
  });

  test("what was paused stays paused", () => {
    expect(started(OPENED, arrived(1), { on: "pause" }, { on: "restored" }).phase).toBe("PAUSED");
  });

  test("without its file it waits for the person, and cannot be resumed before", () => {
    let upload = started(OPENED, arrived(1), { on: "restored" }, { on: "unreadable" });
    expect([upload.phase, upload.needsFile, may(upload, "resume")]).toEqual(["PAUSED", true, false]);
    upload = after(upload, { on: "file" }, { on: "start" });
    expect([upload.phase, next(upload)]).toEqual(["UPLOADING", { do: "look", sessionId: "s1" }]);
  });

  test("a file is not asked for when all of it has arrived", () => {
    const upload = started(OPENED, arrived(1), arrived(2), arrived(3), { on: "restored" }, { on: "unreadable" });
    expect(upload.needsFile).toBe(false);
  });
});

/** A server in memory that takes parts, and hands that lose the line at random. */
function flaky(seed: number): { run(): Promise<Upload>; bytesTaken: number[] } {
  let upload = started();
  const stored = new Set<number>();
  let state = seed;
  const dice = (): number => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
  const bytesTaken: number[] = [];
  const answer = (action: Action): Event => {
    if (action.do === "wait") return { on: "waited" };
    if (dice() < 0.4) return refused(action.do, "NETWORK", 0); // before it got there
    const done = act(action);
    return dice() < 0.3 ? refused(action.do, "NETWORK", 0) : done; // on its way back
  };
  const act = (action: Action): Event => {
    if (action.do === "open") return OPENED;
    if (action.do === "finish") return { on: "finished", videoId: "v" };
    if (action.do === "send") {
      stored.add(action.number);
      bytesTaken.push(action.number);
      return arrived(action.number);
    }
    return seen("IN_PROGRESS", [...stored]);
  };
  const runner = new Runner({
    get: () => upload,
    apply: (event) => (upload = step(upload, event)),
    perform: async (action) => answer(action),
  });
  return { run: () => runner.run().then(() => upload), bytesTaken };
}

describe("the runner", () => {
  test("gets every file through a line that fails again and again, each part once", async () => {
    for (let seed = 1; seed <= 300; seed += 1) {
      const line = flaky(seed * 7919);
      expect((await line.run()).phase).toBe("COMPLETED");
      expect(line.bytesTaken).toEqual([1, 2, 3]);
    }
  });

  test("breaks off a part when it is paused, and drops its answer", async () => {
    let upload = started(OPENED);
    const done: string[] = [];
    const runner: Runner = new Runner({
      get: () => upload,
      apply: (event) => (upload = step(upload, event)),
      perform: (action, signal) => {
        done.push(action.do);
        if (action.do === "pause") return Promise.resolve(seen("PAUSED"));
        return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("stopped"))));
      },
    });
    const ran = runner.run();
    runner.tell({ on: "pause" });
    await ran;
    expect([done, upload.phase]).toEqual([["send", "pause"], "PAUSED"]);
  });

  test("tries at once when the network is back (Q7)", async () => {
    let upload = started(OPENED, lost);
    const done: string[] = [];
    const runner: Runner = new Runner({
      get: () => upload,
      apply: (event) => (upload = step(upload, event)),
      perform: (action, signal) => {
        done.push(action.do);
        if (action.do === "look") return Promise.resolve(seen("PAUSED"));
        return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("stopped"))));
      },
    });
    const ran = runner.run();
    runner.hurry();
    await ran;
    expect(done).toEqual(["wait", "look"]);
  });
});
