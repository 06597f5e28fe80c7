import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { Keyboard, LogOut } from "lucide-preact";
import { session } from "../../api/session";
import { DESKTOP, useMedia } from "../../lib/media-query";
import { choose, preferences } from "../../lib/preferences";
import type { Theme } from "../../lib/preferences";
import { useStore } from "../../lib/store";
import { Button, LinkButton } from "../../ui/Button";
import { KeyboardHelp } from "../../ui/KeyboardHelp";
import { signOut } from "../../ui/Nav";
import "./settings.css";

const THEMES: readonly [Theme, string][] = [
  ["dark", "Dark"],
  ["light", "Light"],
  ["system", "System"],
];

function Section({ title, children }: { title: string; children: ComponentChildren }): JSX.Element {
  return (
    <section class="settings-section">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

interface SwitchProps {
  label: string;
  hint: string;
  on: boolean;
  onChange(on: boolean): void;
}

function Switch({ label, hint, on, onChange }: SwitchProps): JSX.Element {
  return (
    <label class="settings-row">
      <span>
        <b>{label}</b>
        <small>{hint}</small>
      </span>
      <input
        type="checkbox"
        role="switch"
        class="switch"
        checked={on}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    </label>
  );
}

function ThemeChoice(): JSX.Element {
  const { theme } = useStore(preferences);
  return (
    <fieldset class="segments">
      <legend class="visually-hidden">Theme</legend>
      {THEMES.map(([value, label]) => (
        <label key={value}>
          <input
            type="radio"
            name="theme"
            class="visually-hidden"
            checked={theme === value}
            onChange={() => choose({ theme: value })}
          />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Account(): JSX.Element {
  const current = useStore(session);
  const desktop = useMedia(DESKTOP);
  if (current === null) {
    return (
      <div class="settings-actions">
        <LinkButton href="/signup" weight="primary">
          Create account
        </LinkButton>
        <LinkButton href="/login">Sign in</LinkButton>
      </div>
    );
  }
  return (
    <div class="settings-row">
      <span>
        <b>{current.user.username}</b>
        <small>Signed in on this device</small>
      </span>
      {/* On a desktop the rail has it. */}
      {!desktop && (
        <Button icon={<LogOut size={18} />} data-testid="signout" onClick={() => void signOut()}>
          Sign out
        </Button>
      )}
    </div>
  );
}

/** Appearance, playback and account on this device. */
export function SettingsScreen(): JSX.Element {
  const { sound, saver } = useStore(preferences);
  const [help, setHelp] = useState(false);
  return (
    <div class="page page-narrow">
      <div class="page-head">
        <h1>Settings</h1>
      </div>
      <Section title="Appearance">
        <ThemeChoice />
      </Section>
      <Section title="Playback">
        <Switch
          label="Play with sound"
          hint="Browsers may still ask for one tap first."
          on={sound}
          onChange={(on) => choose({ sound: on })}
        />
        <Switch
          label="Save data"
          hint="Keeps the stream at or below 1.5 Mbit/s."
          on={saver}
          onChange={(on) => choose({ saver: on })}
        />
        <Button icon={<Keyboard size={18} />} onClick={() => setHelp(true)}>
          Keyboard shortcuts
        </Button>
      </Section>
      <Section title="Account">
        <Account />
      </Section>
      {help && <KeyboardHelp onClose={() => setHelp(false)} />}
    </div>
  );
}
