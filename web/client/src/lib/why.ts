import type { FeedItem, Signal } from "../api/types";
import { formatList } from "./format";

/** One bar of "why this video": a signal's share of the score. */
export interface Contribution {
  name: string;
  label: string;
  value: number;
  weight: number;
  /** value × weight */
  points: number;
}

/** What a signal is called, and how it reads inside a sentence after "because". */
const SIGNALS: Readonly<Record<string, readonly [label: string, because: string]>> = {
  similarity: ["Like what you watch", "it is close to what you have been watching"],
  engagement: ["Well received", "people watch it and react to it"],
  completion: ["Watched to the end", "people watch it to the end"],
  recency: ["New", "it is new"],
  freshness: ["New", "it is new"],
  trending: ["Trending", "many people are watching it right now"],
  affinity: ["This creator and you", "you often watch this creator"],
  creator_affinity: ["This creator and you", "you often watch this creator"],
  author_affinity: ["This creator and you", "you often watch this creator"],
  relationship: ["Your connections", "you are connected to this creator"],
  following: ["You follow the creator", "you follow this creator"],
  personalisation: ["Your tags", "its tags match yours"],
  quality: ["Picture quality", "its picture is good"],
  deep_model: ["Prediction", "our model expects you to like it"],
  ml_score: ["Prediction", "our model expects you to like it"],
  co_occurrence: ["Watched together", "people who watched the same videos as you watched this one too"],
};

function words(name: string): string {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Signals that weigh something, the largest contribution first. */
export function contributions(signals: Readonly<Record<string, Signal>>): Contribution[] {
  return Object.entries(signals)
    .filter(([, signal]) => signal.weight > 0)
    .map(([name, { value, weight }]) => ({
      name,
      label: SIGNALS[name]?.[0] ?? words(name),
      value,
      weight,
      points: value * weight,
    }))
    .sort((a, b) => b.points - a.points);
}

/** Fixed reasons that are no signal: the feed chose them by a rule. */
const RULES: Readonly<Record<string, string>> = {
  trending:
    "The feed does not know your taste yet, so it shows what is popular here. Watch a few videos and it becomes yours.",
  exploration: "This is a try: few people have seen it yet, and the feed keeps some room for discoveries.",
};

/** One human sentence; only signals that really count for a fifth of the score are named. */
export function whySentence(item: Pick<FeedItem, "reason" | "signals">): string {
  const fixed = RULES[item.reason];
  if (fixed !== undefined) return fixed;
  const bars = contributions(item.signals);
  const total = bars.reduce((sum, bar) => sum + bar.points, 0);
  const named = bars.filter((bar) => bar.points > 0 && bar.points >= total * 0.2).slice(0, 2);
  if (named.length === 0) return "You see this because there was little else to choose from.";
  const because = named.map((bar) => SIGNALS[bar.name]?.[1] ?? `of ${words(bar.name).toLowerCase()}`);
  return `You see this because ${formatList(because)}.`;
}

/** The few words on the chip. */
export function whyChip(item: Pick<FeedItem, "reason" | "signals">): string {
  if (item.reason === "exploration") return "Discovery";
  const top = contributions(item.signals)[0];
  // Trending with nothing watched yet is no trend.
  if (item.reason === "trending") return top !== undefined && top.points >= 0.005 ? "Trending" : "New here";
  return top !== undefined && top.points > 0 ? top.label : "Why this video";
}
