"""The HTML body of a Note. Pure; everything that a person wrote is escaped."""

import re
from html import escape

from federation.addresses import Addresses
from federation.model import PublicVideo

_URL = re.compile(r"https?://[^\s<>\"']*[^\s<>\"'.,;:!?)\]]")


def content(at: Addresses, video: PublicVideo) -> str:
    """Return title, description, link to the page, and tags as paragraphs.

    Tags stand in the text too: Mastodon shows and links only those that it finds there.
    """
    paragraphs = [f"<p><strong>{escape(video.title)}</strong></p>"]
    paragraphs += [f"<p>{_lines(text)}</p>" for text in _paragraphs(video.description)]
    watch = escape(at.watch(video.video_id))
    paragraphs.append(f'<p><a href="{watch}" rel="nofollow noopener">{watch}</a></p>')
    if video.tags:
        paragraphs.append(f"<p>{' '.join(_hashtag(at, tag) for tag in video.tags)}</p>")
    return "".join(paragraphs)


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", text.replace("\r\n", "\n")) if part.strip()]


def _lines(text: str) -> str:
    return "<br>".join(_linked(line) for line in text.split("\n"))


def _linked(line: str) -> str:
    parts, end = [], 0
    for match in _URL.finditer(line):
        url = escape(match.group())
        parts += [escape(line[end : match.start()]), f'<a href="{url}" rel="nofollow noopener">{url}</a>']
        end = match.end()
    return "".join([*parts, escape(line[end:])])


def _hashtag(at: Addresses, tag: str) -> str:
    href = escape(at.tag(tag))
    return f'<a href="{href}" class="mention hashtag" rel="tag">#<span>{escape(tag)}</span></a>'
