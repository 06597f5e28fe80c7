"""ActivityPub documents of people, videos and collections (J1, J2, J8, J46, Y1).

Pure: each function takes plain values and returns a dict that is ready for JSON. One video has two
representations, because no single object is taken by everybody: a ``Note`` with an mp4 attachment by the
person, and a ``Video`` by the person's channel.
"""

from federation.vocabulary.actors import channel, instance, person
from federation.vocabulary.collections import collection, collection_page, counted
from federation.vocabulary.objects import announce, create, note, tombstone
from federation.vocabulary.terms import Document
from federation.vocabulary.video import video

__all__ = [
    "Document",
    "announce",
    "channel",
    "collection",
    "collection_page",
    "counted",
    "create",
    "instance",
    "note",
    "person",
    "tombstone",
    "video",
]
