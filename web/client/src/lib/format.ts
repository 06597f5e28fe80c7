/** Numbers as people read them. All pure, all in the page's language where the platform can do it. */

const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const SIZES = ["B", "KB", "MB", "GB", "TB"] as const;

/** 1234 → "1.2K". */
export function formatCount(count: number): string {
  return COMPACT.format(Math.max(0, count));
}

/** 1 → "1 view", 1234 → "1.2K views". */
export function counted(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Binary multiples, as the upload limits are counted (X3): 524288000 → "500 MB". */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 1024 && unit < SIZES.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 || Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${SIZES[unit]}`;
}

/** 75 → "1:15", 3700 → "1:01:40". */
export function formatClock(seconds: number): string {
  const total = Number.isFinite(seconds) ? Math.max(0, Math.floor(seconds)) : 0;
  const two = (n: number): string => String(n).padStart(2, "0");
  const minutes = Math.floor(total / 60);
  if (minutes < 60) return `${minutes}:${two(total % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(total % 60)}`;
}

/** 180 → "3 minutes", 90 → "1 minute 30 seconds". */
export function formatDuration(seconds: number): string {
  const unit = (n: number, name: string): string => `${n} ${name}${n === 1 ? "" : "s"}`;
  const minutes = Math.floor(seconds / 60);
  const rest = Math.round(seconds % 60);
  if (minutes === 0) return unit(rest, "second");
  return rest === 0 ? unit(minutes, "minute") : `${unit(minutes, "minute")} ${unit(rest, "second")}`;
}

const STEPS: readonly [limit: number, size: number, unit: Intl.RelativeTimeFormatUnit][] = [
  [3600, 60, "minute"],
  [86_400, 3600, "hour"],
  [604_800, 86_400, "day"],
  [2_629_800, 604_800, "week"],
  [31_557_600, 2_629_800, "month"],
  [Infinity, 31_557_600, "year"],
];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** "just now", "5 minutes ago", "yesterday". */
export function formatAgo(isoTime: string, nowMs: number): string {
  const age = Math.max(0, (nowMs - Date.parse(isoTime)) / 1000);
  if (Number.isNaN(age)) return "";
  if (age < 60) return "just now";
  const [, size, unit] = STEPS.find(([limit]) => age < limit) ?? STEPS[STEPS.length - 1]!;
  return RELATIVE.format(-Math.floor(age / size), unit);
}

/** "a", "a and b", "a, b and c". */
export function formatList(words: readonly string[], last = "and"): string {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} ${last} ${words[words.length - 1]}`;
}
