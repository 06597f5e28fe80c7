/** One bar of a chart. */
export interface Bar {
  label: string;
  value: number;
}

const MOST_BARS = 48;

/** Whether every value of a column is a number or nothing, with at least one number. */
function numeric(rows: readonly unknown[][], column: number): boolean {
  const values = rows.map((row) => row[column]).filter((value) => value !== null && value !== undefined);
  return values.length > 0 && values.every((value) => typeof value === "number");
}

/** The columns that can be drawn: numbers, the last ones first, since results put their measures there. */
export function measures(columns: readonly string[], rows: readonly unknown[][]): number[] {
  return columns.map((_, at) => at).filter((at) => numeric(rows, at)).reverse();
}

/** One measure of a result as bars; what is not measured labels them. At most 48, from the first row on. */
export function bars(columns: readonly string[], rows: readonly unknown[][], measure: number): Bar[] {
  const texts = columns.map((_, at) => at).filter((at) => at !== measure && !numeric(rows, at));
  const first = columns.findIndex((_, at) => at !== measure);
  const naming = texts.length > 0 ? [...(numeric(rows, first) && first >= 0 ? [first] : []), ...texts.slice(0, 1)] : [first];
  return rows.slice(0, MOST_BARS).map((row) => ({
    label: naming.filter((at) => at >= 0).map((at) => cell(row[at])).join(" · "),
    value: typeof row[measure] === "number" ? row[measure] : 0,
  }));
}

/** A value of a result as text; nothing for NULL, JSON for lists and structures. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** How long ago a moment was, roughly. */
export function ago(at: string | null, nowMs: number): string {
  if (at === null) return "never";
  const seconds = Math.max(0, (nowMs - Date.parse(at)) / 1000);
  if (seconds < 5) return "now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 129_600 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86_400)} days ago`;
}
