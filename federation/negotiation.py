"""Which representation a request asks for (J44, RFC 9110 section 12.5.1). Pure.

Loops and Pixelfed compare the answer's ``Content-Type`` letter by letter with three strings, so the two
ActivityPub types below are exactly two of them.
"""

from dataclasses import dataclass
from enum import StrEnum

ACTIVITY_JSON = "application/activity+json"
LD_PROFILE = "https://www.w3.org/ns/activitystreams"
LD_JSON = f'application/ld+json; profile="{LD_PROFILE}"'
PLAIN_JSON = "application/json"


class Form(StrEnum):
    """A representation that federation can answer with."""

    ACTIVITY = "activity"
    LD = "ld"
    JSON = "json"
    HTML = "html"


CONTENT_TYPES = {Form.ACTIVITY: ACTIVITY_JSON, Form.LD: LD_JSON, Form.JSON: PLAIN_JSON}


@dataclass(frozen=True, slots=True)
class _Range:
    media_type: str
    profiles: tuple[str, ...]
    quality: float

    def rank(self, form: Form) -> int:
        """Return how exactly this range names the form: 0 not at all, 4 with its profile."""
        offered = {
            Form.ACTIVITY: "application/activity+json",
            Form.LD: "application/ld+json",
            Form.JSON: "application/json",
            Form.HTML: "text/html",
        }[form]
        if self.media_type == offered:
            return self._exact(form)
        if form is Form.HTML and self.media_type == "application/xhtml+xml":
            return 3
        if self.media_type == offered.split("/")[0] + "/*":
            return 2
        return 1 if self.media_type == "*/*" else 0

    def _exact(self, form: Form) -> int:
        if form is not Form.LD:
            return 3
        # Some peers leave the profile out; one that names another profile wants something else.
        return 4 if LD_PROFILE in self.profiles else 0 if self.profiles else 3


def choose(accept: str | None, default: Form = Form.ACTIVITY) -> Form | None:
    """Return the form that an ``Accept`` header prefers, None when it accepts none of ours.

    The highest ``q`` wins, then the most exact range, then the order activity, ld, json, html. Without a
    header, or with ``*/*`` only, the answer is ``default``.

    >>> choose('application/ld+json; profile="https://www.w3.org/ns/activitystreams"').value
    'ld'
    >>> choose("text/html,application/xhtml+xml,*/*;q=0.8").value
    'html'
    """
    ranges = parse(accept or "*/*")
    best: tuple[float, int] = (0.0, 0)
    chosen: Form | None = None
    for form in (default, *(form for form in Form if form is not default)):
        rank, quality = max(
            ((accepted.rank(form), accepted.quality) for accepted in ranges), default=(0, 0.0)
        )
        if rank and quality > 0 and (quality, rank) > best:
            best, chosen = (quality, rank), form
    return chosen


def wants_activity(accept: str | None) -> bool:
    """Tell whether a page's URL is asked for as an ActivityPub document, by name, not by ``*/*``.

    >>> wants_activity("*/*"), wants_activity("application/activity+json, text/html;q=0.1")
    (False, True)
    """
    return bool(accept) and choose(accept, Form.HTML) in (Form.ACTIVITY, Form.LD)


def parse(accept: str) -> list[_Range]:
    """Return the media ranges of an ``Accept`` header; a broken range is left out, a broken q is 1."""
    ranges = []
    for part in _split(accept, ","):
        media_type, *parameters = (piece.strip() for piece in _split(part, ";"))
        if media_type.count("/") != 1:
            continue
        quality = 1.0
        profiles: tuple[str, ...] = ()
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            value = value.strip().strip('"')
            if name.strip().lower() == "q":
                quality = _quality(value)
            elif name.strip().lower() == "profile":
                profiles = tuple(value.split())
        ranges.append(_Range(media_type.lower(), profiles, quality))
    return ranges


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 1.0


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator outside of double quotes."""
    parts, quoted, start = [], False, 0
    for index, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]
