"""Agent that keeps the catalogue of playable videos: cards, embeddings, tombstones (D7, D14)."""

from collections.abc import Callable

from msgspec.structs import replace

from streams.folding import Fold, Folded
from streams.log.slices import Slice
from tables.definitions import CatalogueEntry
from tables.records import Card, CatalogueChange


async def keep(
    batch: Slice[CatalogueChange],
    catalogue: Fold[CatalogueEntry],
    show: Callable[[str, Card | None], None],
) -> None:
    """Apply a slice of cards and tombstones, and show them to ranking.

    A card without an embedding keeps the one that is known: it is sent when the video becomes READY,
    and the embedding follows.
    """

    def fold(states: dict[str, CatalogueEntry]) -> Folded[CatalogueEntry]:
        changed: dict[str, CatalogueEntry | None] = {}
        for change in batch.records:
            entry = merged(states.get(change.video_id), change)
            if entry is None:
                states.pop(change.video_id, None)
            else:
                states[change.video_id] = entry
            changed[change.video_id] = entry
        return Folded(changed)

    folded = await catalogue.apply(batch.partition, (change.video_id for change in batch.records), fold)
    for video_id, entry in folded.rows.items():
        show(video_id, entry.card if entry else None)


def merged(entry: CatalogueEntry | None, change: CatalogueChange) -> CatalogueEntry | None:
    """Return the entry after a change; None when the video leaves the catalogue.

    A repeated or older change (lower outbox sequence) leaves the entry as it is.
    """
    if change.card is None:
        return None
    if entry is None:
        return CatalogueEntry(change.card, change.seq)
    if change.seq < entry.seq:
        return entry
    card = change.card
    if not card.embedding and entry.card.embedding:
        card = _with_embedding(card, entry.card)
    return CatalogueEntry(card, change.seq)


def _with_embedding(card: Card, known: Card) -> Card:
    return replace(card, embedding=known.embedding, model_version=known.model_version)
