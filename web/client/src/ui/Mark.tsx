import type { JSX } from "preact";

/** The name mark: an F whose second arm is a play sign. */
export function Glyph(): JSX.Element {
  return (
    <svg viewBox="4 3 24 26" aria-hidden="true">
      <path d="M9.5 26V12a5 5 0 0 1 5-5H24" fill="none" stroke="currentColor" stroke-width="4" stroke-linecap="round" />
      <path
        d="M15.5 14.6v8.3a1.3 1.3 0 0 0 2 1.1l6.6-4.1a1.3 1.3 0 0 0 0-2.3l-6.6-4.1a1.3 1.3 0 0 0-2 1.1z"
        fill="var(--accent-text)"
      />
    </svg>
  );
}

export function Mark(): JSX.Element {
  return (
    <a class="mark" href="/" aria-label="FreeWill, to the feed">
      <Glyph />
      <span aria-hidden="true">freewill</span>
    </a>
  );
}

export function Avatar({ name }: { name: string }): JSX.Element {
  return (
    <span class="avatar" aria-hidden="true">
      {name.slice(0, 1)}
    </span>
  );
}
