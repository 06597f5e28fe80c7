"""Feed items as JSON, encoded once per video: a feed request copies bytes (DESIGN section 8).

An item is what is fixed about a video (its card and signed URLs), encoded and kept, with what changes
(counters, the viewer's likes, score and signals) written behind it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from tables.records import Card
from web.errors import rfc3339
from web.render import playback, table_counters, thumbnails
from web.schemas.videos import Creator

if TYPE_CHECKING:
    from ranking.feed import FeedItem
    from social.views import Principal, Relations, Video
    from web.keys import Deps

# About 3 kB each.
MAX_CARDS = 5_000


@dataclass(frozen=True, slots=True)
class _Kept:
    card: Card
    start: str  # of the signed URLs: another one means another window of validity, host or audience
    head: bytes  # the JSON object up to, and without, its closing brace


class CardCache:
    """Encodes feed items."""

    def __init__(self, services: "Deps", max_cards: int = MAX_CARDS) -> None:
        self._services = services
        self._max = max_cards
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def encode(
        self, items: "tuple[FeedItem, ...]", viewer: "Principal | None"
    ) -> list[orjson.Fragment]:
        """Encode a page: one query for cards that are not kept yet, one for the viewer's relations.

        A video that was deleted, or hidden from the viewer, since it was ranked is left out.
        """
        missing = [item.video_id for item in items if not self._fresh(item)]
        if missing:
            self._fill(items, await self._services.videos.get_many(missing, viewer))
        mine: Relations | None = None
        if viewer is not None and items:
            mine = await self._services.interactions.relations(
                viewer.user_id, [item.video_id for item in items]
            )
        return [self._item(item, mine) for item in items if item.video_id in self._kept]

    def _fresh(self, item: "FeedItem") -> bool:
        kept = self._kept.get(item.video_id)
        if kept is None:
            return False
        if kept.card == item.card and kept.start == self._start(item.card):
            self._kept.move_to_end(item.video_id)
            return True
        del self._kept[item.video_id]
        return False

    def _fill(self, items: "tuple[FeedItem, ...]", videos: "dict[str, Video]") -> None:
        for item in items:
            video = videos.get(item.video_id)
            if video is not None:
                self._kept[video.id] = _Kept(item.card, self._start(item.card), self._head(item.card, video))
        while len(self._kept) > max(self._max, len(items)):
            self._kept.popitem(last=False)

    def _start(self, card: Card) -> str:
        return self._services.signer.prefix_url(card.video_id)

    def _head(self, card: Card, video: "Video") -> bytes:
        fixed = {
            "id": card.video_id,
            "title": card.title,
            "description": card.description,
            "tags": card.tags,
            "creator": Creator(id=card.creator_id, username=card.creator_username).model_dump(),
            "duration_seconds": card.duration_seconds,
            "width": card.width,
            "height": card.height,
            "created_at": rfc3339(card.created_at),
            "thumbnails": thumbnails(video, self._services).model_dump(),
            "playback": playback(video, self._services).model_dump(),
        }
        return orjson.dumps(fixed)[:-1]

    def _item(self, item: "FeedItem", mine: "Relations | None") -> orjson.Fragment:
        live = {
            **table_counters(self._services.engagement(item.video_id)),
            "liked": mine is not None and item.video_id in mine.liked,
            "saved": mine is not None and item.video_id in mine.saved,
            "score": item.score,
            "reason": item.reason,
            "signals": item.signals,
        }
        return orjson.Fragment(self._kept[item.video_id].head + b"," + orjson.dumps(live)[1:])
