import { createStore } from "./store";
import { readJson, writeJson } from "./storage";
import type { CaptionsChoice } from "../player/captions";

export type Theme = "system" | "dark" | "light";

/** What a person chose on this device. */
export interface Preferences {
  theme: Theme;
  /** Play with sound. False until the first tap: browsers only start muted. */
  sound: boolean;
  /** Keep the stream at or below 1.5 Mbit/s (Q17). */
  saver: boolean;
  /** When captions show: by default while the sound is off (Y6). */
  captions: CaptionsChoice;
}

const KEY = "freewill.preferences";
const DEFAULTS: Preferences = { theme: "dark", sound: false, saver: false, captions: "muted" };

export const preferences = createStore<Preferences>({
  ...DEFAULTS,
  ...(typeof localStorage === "undefined" ? null : readJson<Partial<Preferences>>(KEY)),
});

export function choose(change: Partial<Preferences>): void {
  preferences.update((previous) => ({ ...previous, ...change }));
  writeJson(KEY, preferences.get());
}

/** Keep the document's theme equal to the choice, and follow the system when it is the choice. */
export function followTheme(): void {
  const light = matchMedia("(prefers-color-scheme: light)");
  const apply = (): void => {
    const { theme } = preferences.get();
    const shown = theme === "system" ? (light.matches ? "light" : "dark") : theme;
    document.documentElement.dataset.theme = shown;
    const colour = shown === "light" ? "#f6f8f6" : "#0b0d0c";
    document.querySelector('meta[name="theme-color"]')?.setAttribute("content", colour);
  };
  preferences.subscribe(apply);
  light.addEventListener("change", apply);
  apply();
}
