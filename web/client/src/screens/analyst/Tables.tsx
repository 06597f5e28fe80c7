import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { listRows, listTables } from "../../api/analyst";
import type { TableInfo, TableRows } from "../../api/analyst";
import { explain } from "../../api/errors";
import { ago, cell } from "../../lib/chart";
import { Button } from "../../ui/Button";
import { ErrorState, Notice, Spinner } from "../../ui/States";
import { Grid } from "./Results";

const REFRESH_MS = 5000;

function Rows({ table }: { table: TableInfo }): JSX.Element {
  const [page, setPage] = useState<TableRows | null>(null);
  const [error, setError] = useState<string | null>(null);
  const load = (cursor: string | null): void => {
    listRows(table.name, cursor).then(setPage, (reason: unknown) => setError(explain(reason)));
  };
  useEffect(() => load(null), [table.name]);
  if (error !== null) return <Notice kind="error">{error}</Notice>;
  if (page === null) return <Spinner label="Loading rows" />;
  const fields = Object.keys(table.fields);
  const rows = page.items.map((row) => [row.key, ...fields.map((name) => cell((row.value as Record<string, unknown>)[name]))]);
  return (
    <>
      <Grid label={`Rows of ${table.name}`} columns={[table.key, ...fields]} rows={rows} data-testid="rows" />
      <div class="analyst-line">
        <p>
          {page.items.length} of {table.rows} rows
        </p>
        <Button onClick={() => load(null)}>From the start</Button>
        <Button disabled={page.next_cursor === null} onClick={() => load(page.next_cursor)}>
          Next rows
        </Button>
      </div>
    </>
  );
}

/** Every stream table with how fresh it is, and the rows of one. */
export function Tables(): JSX.Element {
  const [tables, setTables] = useState<TableInfo[] | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [open, setOpen] = useState<string | null>(null);
  const load = (): void => {
    listTables().then(
      (answer) => {
        setTables(answer.items);
        setError(null);
      },
      (reason: unknown) => setError(explain(reason)),
    );
  };
  useEffect(() => {
    load();
    const timer = setInterval(load, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  if (tables === null) return error === null ? <Spinner label="Loading tables" /> : <ErrorState message={error} onRetry={load} />;
  const shown = tables.find((table) => table.name === open);
  return (
    <section aria-labelledby="tables">
      <h2 id="tables">Tables</h2>
      {error !== null && <Notice kind="error">{error}</Notice>}
      <ul class="analyst-tables" data-testid="tables">
        {tables.map((table) => (
          <li key={table.name}>
            <button type="button" aria-expanded={open === table.name} onClick={() => setOpen(open === table.name ? null : table.name)}>
              <b>{table.name}</b>
              <span>{table.description}</span>
              <small class="tabular">
                {table.rows} rows · as of {ago(table.as_of, Date.now())} · {table.lag === 0 ? "no lag" : `${table.lag} behind`}
              </small>
            </button>
          </li>
        ))}
      </ul>
      {shown && <Rows key={shown.name} table={shown} />}
    </section>
  );
}
