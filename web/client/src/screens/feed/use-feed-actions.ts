import { useMemo, useState } from "preact/hooks";
import type { FeedItem } from "../../api/types";
import type { FeedSession } from "./feed-session";
import { copyLink, giveFeedback, like, requireAccount, save, share } from "./reactions";

export interface FeedActions {
  like(item: FeedItem, liked: boolean): void;
  save(item: FeedItem): void;
  share(item: FeedItem): void;
  menu(item: FeedItem): void;
  why(): void;
  notInterested(item: FeedItem): void;
  less(item: FeedItem): void;
  more(item: FeedItem): void;
  copy(item: FeedItem): void;
}

export interface FeedPanels {
  menuFor: FeedItem | null;
  whyOpen: boolean;
  closeMenu(): void;
  closeWhy(): void;
}

/** Everything a person can do to an item of the feed, and the panels that it opens. */
export function useFeedActions(feed: FeedSession): [FeedActions, FeedPanels] {
  const [menuFor, setMenuFor] = useState<FeedItem | null>(null);
  const [whyOpen, setWhyOpen] = useState(false);
  const actions = useMemo<FeedActions>(() => {
    const patch = feed.patch.bind(feed);
    return {
      like: (item, liked) => void like(item, liked, patch),
      save: (item) => void save(item, !item.saved, patch),
      share: (item) => void share(item, patch),
      menu: setMenuFor,
      why: () => setWhyOpen((open) => !open),
      notInterested(item) {
        if (!requireAccount("steer your feed")) return;
        giveFeedback(item.id, "not_interested", "You will not see this again.", feed.remove(item.id));
      },
      less(item) {
        if (!requireAccount("steer your feed")) return;
        giveFeedback(item.id, "less", "Less like this from now on.", feed.remove(item.id));
      },
      more(item) {
        if (!requireAccount("steer your feed")) return;
        giveFeedback(item.id, "more", "More like this from now on.", () => undefined);
      },
      copy: (item) => void copyLink(item.id),
    };
  }, [feed]);
  const panels = { menuFor, whyOpen, closeMenu: () => setMenuFor(null), closeWhy: () => setWhyOpen(false) };
  return [actions, panels];
}
