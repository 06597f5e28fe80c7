import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ErrorState, Spinner } from "../../ui/States";

/** The analysts' screen, fetched when it is opened: few people need it. */
export function LazyAnalyst(): JSX.Element {
  const [Screen, setScreen] = useState<ComponentType | null>(null);
  const [failed, setFailed] = useState(false);
  const load = (): void => {
    setFailed(false);
    import("./AnalystScreen").then((module) => setScreen(() => module.AnalystScreen), () => setFailed(true));
  };
  useEffect(load, []);
  if (Screen !== null) return <Screen />;
  return failed ? <ErrorState message="The page could not be loaded." onRetry={load} /> : <Spinner label="Loading" />;
}
