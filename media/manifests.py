"""Manifests for one device: signed addresses, where to start, what to stay under (C28-C30, C47). Pure.

The stored playlists are relative and the same for everybody; these name the delivery host, and start where
the device should.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from xml.sax.saxutils import escape

MOBILE_CAP = 1_500_000
"""Peak for phones in bit/s (document 001, C47)."""
FALLBACK_QUALITY = "480p"
"""What is taken when a choice of bitrate fails (C32)."""
_BANDWIDTH = re.compile(r"(?:^|[:,])BANDWIDTH=(\d+)")


class Device(StrEnum):
    """What plays, as far as its user agent says."""

    WEB = "web"
    IOS = "ios"
    ANDROID = "android"


@dataclass(frozen=True, slots=True)
class Variant:
    """One rung of a master playlist: its tag's line, its address, its peak in bit/s.

    ``beside`` are the lines of captions and storyboard, which are the same for all rungs.
    """

    tag: str
    uri: str
    bandwidth: int
    beside: tuple[str, ...] = ()

    @property
    def quality(self) -> str:
        """The rung's name.

        >>> Variant("", "480p/playlist.m3u8", 0).quality
        '480p'
        """
        return self.uri.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What a device should do: the rung to start with, and the peak to stay under; rates in bit/s."""

    device: Device
    start_quality: str
    start_bandwidth: int
    peak_bandwidth: int


def device_of(user_agent: str) -> Device:
    """Return the class of a device; what is unknown is the web.

    >>> device_of("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)"), device_of("curl/8")
    (<Device.IOS: 'ios'>, <Device.WEB: 'web'>)
    """
    # Android first: some of its browsers say that they are like an iPhone.
    if re.search(r"Android|okhttp|ExoPlayer|Dalvik", user_agent, re.IGNORECASE):
        return Device.ANDROID
    if re.search(r"iPhone|iPad|iPod|AppleCoreMedia|CFNetwork", user_agent):
        return Device.IOS
    return Device.WEB


def variants_of(master: str) -> list[Variant]:
    """Return the rungs of a stored master playlist, in its order.

    Raises:
        ValueError: it is no master playlist that we wrote.
    """
    lines = [line for line in master.splitlines() if line]
    found = []
    beside = tuple(line for line in lines if line.startswith(("#EXT-X-MEDIA:", "#EXT-X-IMAGE-STREAM-INF:")))
    for tag, uri in pairwise(lines):
        if tag.startswith("#EXT-X-STREAM-INF:"):
            rate = _BANDWIDTH.search(tag)
            if rate is None or uri.startswith("#"):
                raise ValueError("a rung without a rate or an address")
            found.append(Variant(tag, uri, int(rate[1]), beside))
    if not lines or lines[0] != "#EXTM3U" or not found:
        raise ValueError("not a master playlist")
    return found


def recommend(device: Device, variants: Sequence[Variant]) -> Recommendation:
    """Return where a device starts: on the web as the playlist says, on phones the best rung under the cap.

    The lowest rung when none is under it: something always plays (C46).
    """
    lowest = min(variants, key=lambda variant: variant.bandwidth)
    if device is Device.WEB:
        start, peak = variants[0], max(variant.bandwidth for variant in variants)
    else:
        under = [variant for variant in variants if variant.bandwidth <= MOBILE_CAP]
        start = max(under, key=lambda variant: variant.bandwidth, default=lowest)
        peak = max(MOBILE_CAP, lowest.bandwidth)
    return Recommendation(device, start.quality, start.bandwidth, peak)


def hls_for(variants: Sequence[Variant], advice: Recommendation, prefix: str) -> str:
    """Return the master playlist of a device: every rung, the one to start with first (RFC 8216 4.3.4.2).

    Args:
        variants: the stored rungs.
        advice: goes in as session data, too, for players that ask.
        prefix: the signed address of the folder of the stored playlist, ending in ``/``.
    """
    first = next(variant for variant in variants if variant.quality == advice.start_quality)
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-INDEPENDENT-SEGMENTS"]
    told = {"device": advice.device, "start": advice.start_quality, "peak-bandwidth": advice.peak_bandwidth}
    lines += [
        f'#EXT-X-SESSION-DATA:DATA-ID="org.freewill.{name}",VALUE="{value}"' for name, value in told.items()
    ]
    lines += [line.replace('URI="', f'URI="{prefix}') for line in first.beside]
    for variant in (first, *(each for each in variants if each is not first)):
        lines += [variant.tag, prefix + variant.uri]
    return "\n".join([*lines, ""])


def dash_for(stored: str, advice: Recommendation, prefix: str) -> str:
    """Return the DASH manifest of a device: the stored one with the address of its files and the rates.

    Rates stand where ISO 23009-1 (annex K) has them, in a ServiceDescription.

    Raises:
        ValueError: it is no manifest that we wrote.
    """
    at = stored.find("  <Period ")
    if at < 0:
        raise ValueError("not a manifest")
    added = (
        f"  <BaseURL>{escape(prefix)}</BaseURL>\n"
        '  <ServiceDescription id="0">\n'
        f'    <OperatingBandwidth mediaType="video" max="{advice.peak_bandwidth}"'
        f' target="{advice.start_bandwidth}"/>\n'
        "  </ServiceDescription>\n"
    )
    return stored[:at] + added + stored[at:]


def choose(asked: str, variants: Sequence[Variant]) -> Variant:
    """Return the rung for a name (``720p``) or a rate in bit/s; 480p when that fails, else the lowest (C32).

    >>> rungs = [Variant("", f"{lines}p/p", lines * 3000) for lines in (720, 480, 360)]
    >>> [choose(asked, rungs).quality for asked in ("720p", "1200000", "4k", "100")]
    ['720p', '360p', '480p', '480p']
    """
    by_name = {variant.quality: variant for variant in variants}
    if asked in by_name:
        return by_name[asked]
    if asked.isascii() and asked.isdigit() and len(asked) <= 12:
        under = [variant for variant in variants if variant.bandwidth <= int(asked)]
        if under:
            return max(under, key=lambda variant: variant.bandwidth)
    return by_name.get(FALLBACK_QUALITY) or min(variants, key=lambda variant: variant.bandwidth)
