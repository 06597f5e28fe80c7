import type { ComponentChildren, JSX } from "preact";
import { RotateCw, TriangleAlert } from "lucide-preact";
import { Button } from "./Button";

interface StateProps {
  icon: ComponentChildren;
  title: string;
  kind?: "error";
  children?: ComponentChildren;
  actions?: ComponentChildren;
}

/** A screen, or a slide, that has nothing to list: what is so, and the next step. */
export function State({ icon, title, kind, children, actions }: StateProps): JSX.Element {
  return (
    <div class="state">
      <div class="state-icon" data-kind={kind}>{icon}</div>
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {actions && <div class="state-actions">{actions}</div>}
    </div>
  );
}

export function ErrorState({ message, onRetry }: { message: string; onRetry(): void }): JSX.Element {
  return (
    <div role="alert">
      <State
        icon={<TriangleAlert size={32} />}
        kind="error"
        title="That did not work"
        actions={
          <Button weight="primary" icon={<RotateCw size={18} />} onClick={onRetry}>
            Try again
          </Button>
        }
      >
        {message}
      </State>
    </div>
  );
}

export function Notice({ kind, children }: { kind: "error" | "good" | "plain"; children: ComponentChildren }): JSX.Element {
  return (
    <div class="notice" data-kind={kind} role={kind === "error" ? "alert" : undefined}>
      {kind === "error" && <TriangleAlert size={20} aria-hidden="true" />}
      <div>{children}</div>
    </div>
  );
}

interface ProgressProps {
  /** 0..100. */
  value: number;
  label: string;
  "data-testid"?: string;
}

/** A measured bar. Unknown progress is no bar: use Spinner. */
export function Progress({ value, label, ...rest }: ProgressProps): JSX.Element {
  const percent = Math.max(0, Math.min(100, value));
  return (
    <div
      class="progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(percent)}
      {...rest}
    >
      <div style={{ width: `${percent}%` }} />
    </div>
  );
}

export function Spinner({ label }: { label: string }): JSX.Element {
  return <div class="spinner" role="status" aria-label={label} />;
}
