import type { ComponentChildren, JSX } from "preact";
import { ExternalLink, EyeOff, Link, ThumbsDown } from "lucide-preact";
import type { FeedItem } from "../../api/types";
import { CaptionsMenu } from "../../player/CaptionsMenu";
import type { PlayerPool } from "../../player/pool";
import { QualityMenu } from "../../player/QualityMenu";
import { navigate } from "../../router";
import { Dialog } from "../../ui/Dialog";
import type { FeedActions } from "./use-feed-actions";

interface EntryProps {
  icon: ComponentChildren;
  onClick(): void;
  children: ComponentChildren;
}

function Entry({ icon, onClick, children }: EntryProps): JSX.Element {
  return (
    <button type="button" class="menu-item" onClick={onClick}>
      {icon}
      {children}
    </button>
  );
}

interface ItemMenuProps {
  item: FeedItem;
  pool: PlayerPool;
  on: FeedActions;
  onClose(): void;
}

/** Long press, right click or "More": quality, steering, links. */
export function ItemMenu({ item, pool, on, onClose }: ItemMenuProps): JSX.Element {
  const run = (action: (item: FeedItem) => void) => () => {
    onClose();
    action(item);
  };
  return (
    <Dialog title="Options" onClose={onClose}>
      <Entry icon={<EyeOff size={20} />} onClick={run(on.notInterested)}>
        Not interested
      </Entry>
      <Entry icon={<ThumbsDown size={20} />} onClick={run(on.less)}>
        Less like this
      </Entry>
      <Entry icon={<Link size={20} />} onClick={run(on.copy)}>
        Copy link
      </Entry>
      <Entry icon={<ExternalLink size={20} />} onClick={run(() => navigate(`/v/${item.id}`))}>
        Open its page
      </Entry>
      <QualityMenu pool={pool} onDone={onClose} />
      <CaptionsMenu onDone={onClose} />
    </Dialog>
  );
}
