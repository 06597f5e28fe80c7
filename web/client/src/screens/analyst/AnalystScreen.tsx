import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Lock, Play } from "lucide-preact";
import { askLake, listDatasets, mayAnalyse } from "../../api/analyst";
import type { Dataset, QueryAnswer } from "../../api/analyst";
import { explain } from "../../api/errors";
import { session } from "../../api/session";
import { ago } from "../../lib/chart";
import { useStore } from "../../lib/store";
import { Button, LinkButton } from "../../ui/Button";
import { TextArea } from "../../ui/Field";
import { Notice, Spinner, State } from "../../ui/States";
import { Results } from "./Results";
import { Tables } from "./Tables";
import "./analyst.css";

/** The question of the README: the ten videos with the highest completion rate yesterday, by hour. */
const EXAMPLE = `WITH seen AS (
    SELECT hour, video_id, viewer, max(fraction) AS fraction
    FROM events
    WHERE date = current_date - 1 AND fraction IS NOT NULL AND NOT own
    GROUP BY ALL
), rated AS (
    SELECT hour, video_id, round(avg(fraction), 2) AS completion_rate, count(*) AS viewers
    FROM seen GROUP BY ALL
)
SELECT hour, video_id, title, completion_rate, viewers
FROM rated LEFT JOIN catalogue USING (video_id)
QUALIFY row_number() OVER (PARTITION BY hour ORDER BY completion_rate DESC, viewers DESC, video_id) <= 10
ORDER BY hour, completion_rate DESC, viewers DESC, video_id`;

function Datasets({ at }: { at: number }): JSX.Element | null {
  const [found, setFound] = useState<Dataset[]>([]);
  useEffect(() => {
    listDatasets().then((answer) => setFound(answer.items), () => undefined);
  }, [at]);
  if (found.length === 0) return null;
  return (
    <div class="analyst-datasets">
      {found.map((item) => (
        <details key={item.name}>
          <summary>
            <b>{item.name}</b> <small class="tabular">{item.rows} rows · {ago(item.as_of, Date.now())}</small>
          </summary>
          <p>{item.description}</p>
          <dl>
            {item.columns.map((column) => (
              <div key={column.name}>
                <dt>
                  {column.name} <small>{column.type}</small>
                </dt>
                <dd>{column.description}</dd>
              </div>
            ))}
          </dl>
        </details>
      ))}
    </div>
  );
}

function Question(): JSX.Element {
  const [sql, setSql] = useState(EXAMPLE);
  const [running, setRunning] = useState(false);
  const [answer, setAnswer] = useState<QueryAnswer | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [asked, setAsked] = useState(0);

  async function run(): Promise<void> {
    if (running) return;
    setRunning(true);
    setError(null);
    try {
      setAnswer(await askLake(sql, true));
    } catch (reason) {
      setAnswer(null);
      setError(explain(reason));
    } finally {
      setRunning(false);
      setAsked((count) => count + 1);
    }
  }

  return (
    <section aria-labelledby="ask">
      <h2 id="ask">Ask the lake</h2>
      <form
        class="analyst-form"
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
      >
        <TextArea
          label="SQL"
          hint="One SELECT, in DuckDB's dialect; times are UTC, viewers are pseudonyms. Ctrl+Enter runs it."
          error={error}
          value={sql}
          onValue={setSql}
          rows={14}
          spellcheck={false}
          data-testid="sql"
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void run();
          }}
        />
        <Button type="submit" weight="primary" disabled={running} icon={<Play size={18} />} data-testid="run">
          {running ? "Running" : "Run"}
        </Button>
      </form>
      {running && <Spinner label="Running the query" />}
      {!running && answer !== null && <Results answer={answer} />}
      <Datasets at={asked} />
    </section>
  );
}

/** Tables as they are now, and SQL over everything that happened. For analysts and operators. */
export function AnalystScreen(): JSX.Element {
  const current = useStore(session);
  if (!mayAnalyse(current?.user.role)) {
    return (
      <State
        icon={<Lock size={32} />}
        title="This page is for analysts"
        actions={current === null && <LinkButton weight="primary" href="/login?next=/analyst">Sign in</LinkButton>}
      >
        {current === null
          ? "Sign in with an account that has the role."
          : "Your account does not have the role. An operator can give it; sign in again afterwards."}
      </State>
    );
  }
  return (
    <div class="page analyst">
      <div class="page-head">
        <h1>Analysts</h1>
      </div>
      <Notice kind="plain">What you ask and whose rows you read is kept in the audit.</Notice>
      <Tables />
      <Question />
    </div>
  );
}
