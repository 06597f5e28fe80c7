import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Download } from "lucide-preact";
import type { QueryAnswer } from "../../api/analyst";
import { bars, cell, measures } from "../../lib/chart";
import { Button } from "../../ui/Button";

const SHOWN_ROWS = 200;

interface GridProps {
  label: string;
  columns: readonly string[];
  rows: readonly unknown[][];
  "data-testid"?: string;
}

/** Rows and columns that scroll on their own, so that the page does not. */
export function Grid({ label, columns, rows, ...rest }: GridProps): JSX.Element {
  return (
    <div class="grid-scroll" tabIndex={0} role="region" aria-label={label} {...rest}>
      <table class="grid tabular">
        <thead>
          <tr>
            {columns.map((name) => (
              <th key={name} scope="col">{name}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, SHOWN_ROWS).map((row, at) => (
            <tr key={at}>
              {row.map((value, column) => (
                <td key={column} data-number={typeof value === "number" || undefined} title={cell(value)}>
                  {cell(value)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** One measure of a result as bars. */
function Chart({ answer }: { answer: QueryAnswer }): JSX.Element | null {
  const drawable = measures(answer.columns, answer.rows);
  const [chosen, choose] = useState<string | null>(null);
  const wanted = chosen === null ? -1 : answer.columns.indexOf(chosen);
  const measure = drawable.includes(wanted) ? wanted : drawable[0];
  if (measure === undefined || answer.rows.length < 2) return null;
  const drawn = bars(answer.columns, answer.rows, measure);
  const most = Math.max(...drawn.map((bar) => Math.abs(bar.value)), Number.MIN_VALUE);
  return (
    <figure class="chart" data-testid="chart">
      <figcaption>
        <label>
          Measure{" "}
          <select class="input" value={answer.columns[measure]} onChange={(event) => choose(event.currentTarget.value)}>
            {drawable.map((at) => (
              <option key={at}>{answer.columns[at]}</option>
            ))}
          </select>
        </label>
      </figcaption>
      <ol class="chart-bars">
        {drawn.map((bar, at) => (
          <li key={at}>
            <span class="chart-label" title={bar.label}>{bar.label}</span>
            <span class="chart-track">
              <span style={{ width: `${(Math.abs(bar.value) / most) * 100}%` }} />
            </span>
            <span class="tabular">{Number(bar.value.toFixed(3))}</span>
          </li>
        ))}
      </ol>
    </figure>
  );
}

function quoted(value: unknown): string {
  const text = cell(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function save(answer: QueryAnswer): void {
  const lines = [answer.columns, ...answer.rows].map((row) => row.map(quoted).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" }));
  link.download = "result.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** What a query found: a line of facts, a chart where there are numbers, the rows. */
export function Results({ answer }: { answer: QueryAnswer }): JSX.Element {
  const many = answer.rows.length > SHOWN_ROWS ? `, the first ${SHOWN_ROWS} are shown` : "";
  return (
    <section aria-label="Result">
      <div class="analyst-line">
        <p role="status" data-testid="result-line">
          {answer.rows.length} {answer.rows.length === 1 ? "row" : "rows"} in {Math.round(answer.elapsed_ms)} ms{many}
          {answer.truncated && "; there are more: add a LIMIT or narrow the question"}
        </p>
        <Button icon={<Download size={18} />} onClick={() => save(answer)}>
          CSV
        </Button>
      </div>
      <Chart answer={answer} />
      <Grid label="Rows of the result" columns={answer.columns} rows={answer.rows} data-testid="result" />
    </section>
  );
}
