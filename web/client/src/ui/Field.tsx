import type { ComponentChildren, JSX } from "preact";
import { useId } from "preact/hooks";

interface FieldProps {
  label: string;
  error?: string | null | undefined;
  hint?: ComponentChildren;
  /** Characters left, shown when it gets tight. */
  limit?: number;
  value: string;
  onValue(value: string): void;
}

type InputProps = Omit<JSX.InputHTMLAttributes<HTMLInputElement>, "label" | "value">;
type AreaProps = Omit<JSX.TextareaHTMLAttributes<HTMLTextAreaElement>, "label" | "value">;

function Frame(props: FieldProps & { id: string; children: ComponentChildren }): JSX.Element {
  const { id, label, error, hint, limit, value, children } = props;
  const tight = limit !== undefined && value.length > limit * 0.8;
  return (
    <div class="field">
      <div class="field-top">
        <label for={id}>{label}</label>
        {tight && (
          <span class="field-count tabular">
            {value.length} / {limit}
          </span>
        )}
      </div>
      {children}
      {hint && !error && (
        <div class="field-hint" id={`${id}-hint`}>
          {hint}
        </div>
      )}
      <div aria-live="polite">
        {error && (
          <p class="field-error" id={`${id}-error`}>
            {error}
          </p>
        )}
      </div>
    </div>
  );
}

function described(id: string, { error, hint }: FieldProps): { "aria-describedby"?: string; "aria-invalid"?: boolean } {
  if (error) return { "aria-describedby": `${id}-error`, "aria-invalid": true };
  return hint ? { "aria-describedby": `${id}-hint` } : {};
}

/** A labelled line of text with its hint and its error. */
export function TextField(props: FieldProps & InputProps): JSX.Element {
  const id = useId();
  const { label, error, hint, limit, value, onValue, ...input } = props;
  return (
    <Frame {...{ label, error, hint, value, onValue, id }} {...(limit === undefined ? {} : { limit })}>
      <input
        id={id}
        class="input"
        value={value}
        onInput={(event) => onValue(event.currentTarget.value)}
        {...described(id, props)}
        {...input}
      />
    </Frame>
  );
}

export function TextArea(props: FieldProps & AreaProps): JSX.Element {
  const id = useId();
  const { label, error, hint, limit, value, onValue, ...area } = props;
  return (
    <Frame {...{ label, error, hint, value, onValue, id }} {...(limit === undefined ? {} : { limit })}>
      <textarea
        id={id}
        class="input"
        value={value}
        onInput={(event) => onValue(event.currentTarget.value)}
        {...described(id, props)}
        {...area}
      />
    </Frame>
  );
}
