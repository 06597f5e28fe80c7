"""Videos that are being processed, remembered for a moment: their owners ask again and again (C26)."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from social.views import Video
from tables.lifecycle import VideoStatus

WINDOW_SECONDS: Final = 1.0
"""Progress comes twice a second at most; what another worker changed is seen this much later."""
REMEMBERED: Final = 10_000


class Polled:
    """Videos in TRANSCODING as they were read last; everything that this process changes is forgotten."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Video]] = OrderedDict()
        self._changes = 0

    def find(self, video_id: str) -> Video | None:
        """Return the video as it was within the last second, None when it has to be read."""
        known = self._known.get(video_id)
        if known is None or not 0 <= self._clock() - known[0] < WINDOW_SECONDS:
            return None
        return known[1]

    def begin(self) -> int:
        """Return what :meth:`keep` needs to know of the moment before the reading."""
        return self._changes

    def keep(self, video: Video, begun: int) -> None:
        """Remember a video that was read; not when one changed meanwhile: it may be from before."""
        if video.status is not VideoStatus.TRANSCODING or begun != self._changes:
            return
        self._known[video.id] = (self._clock(), video)
        self._known.move_to_end(video.id)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def forget(self, video_id: str) -> None:
        """Forget a video: it has changed."""
        self._known.pop(video_id, None)
        self._changes += 1
