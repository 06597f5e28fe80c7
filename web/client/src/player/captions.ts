/** Captions: when they show, and in which language. */

export type CaptionsChoice = "muted" | "on" | "off";

export function captionsShown(choice: CaptionsChoice, muted: boolean): boolean {
  return choice === "on" || (choice === "muted" && muted);
}

/** Index of the track to show: the first language wished for that there is, else the first; -1 without any. */
export function captionTrackFor(wishes: readonly string[], languages: readonly (string | undefined)[]): number {
  const bare = (tag: string | undefined): string => (tag ?? "").toLowerCase().split("-")[0]!;
  for (const wish of wishes) {
    const exact = languages.findIndex((tag) => tag?.toLowerCase() === wish.toLowerCase());
    const near = exact >= 0 ? exact : languages.findIndex((tag) => bare(tag) === bare(wish));
    if (near >= 0) return near;
  }
  return languages.length > 0 ? 0 : -1;
}
