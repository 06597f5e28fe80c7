"""Collections and their pages (J9). Pure."""

from collections.abc import Sequence

from federation.vocabulary.objects import without_context
from federation.vocabulary.terms import NOTE_CONTEXT, Document


def collection(collection_id: str, total: int) -> Document:
    """Return the head of an ordered collection that has pages."""
    head = counted(collection_id, total)
    if total:
        head["first"] = f"{collection_id}?page=true"
    return head


def counted(collection_id: str, total: int) -> Document:
    """Return an ordered collection that tells its size only, which every server takes."""
    return {
        "@context": NOTE_CONTEXT,
        "id": collection_id,
        "type": "OrderedCollection",
        "totalItems": total,
    }


def collection_page(
    collection_id: str, total: int, items: Sequence[Document], cursor: str | None, following: str | None
) -> Document:
    """Return one page, newest first; ``following`` is the cursor of the next, None on the last."""
    start = f"{collection_id}?page=true"
    page = {
        "@context": NOTE_CONTEXT,
        "id": f"{start}&cursor={cursor}" if cursor else start,
        "type": "OrderedCollectionPage",
        "partOf": collection_id,
        "totalItems": total,
        "orderedItems": [without_context(item) for item in items],
    }
    if following:
        page["next"] = f"{start}&cursor={following}"
    return page
