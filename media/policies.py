"""Upload policies: how large, how long and in which containers a source may come (A1-A4, X1-X3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from media.sniff import EXTENSIONS, MIME, Container
from tables.errors import FileTooLarge, InvalidFormat, ValidationFailed

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """The limits of one named policy.

    ``max_bytes`` itself passes, one byte more is refused (X3); ``max_seconds`` is None for no limit.
    """

    name: str
    max_bytes: int
    max_seconds: float | None
    formats: tuple[Container, ...]

    def supported(self) -> list[str]:
        """Return the format names for ``details.supported`` and for clients that check first (A10)."""
        return [container.value for container in self.formats]

    def mimes(self) -> list[str]:
        """Return the MIME types of the formats."""
        return [MIME[container] for container in self.formats]

    def check_size(self, size_bytes: int) -> None:
        """Refuse a size over the limit.

        Raises:
            FileTooLarge: FILE_TOO_LARGE with the limit in ``details`` (A4).
        """
        if size_bytes > self.max_bytes:
            raise FileTooLarge(details={"limit_bytes": self.max_bytes, "policy": self.name})

    def check_format(self, container: Container) -> None:
        """Refuse a container that is not on this policy's list.

        Raises:
            InvalidFormat: INVALID_FORMAT with the list in ``details.supported`` (A3, X2).
        """
        if container not in self.formats:
            raise InvalidFormat(
                details={"supported": self.supported(), "found": container.value, "policy": self.name}
            )


SHORT: Final = UploadPolicy("short", 500 * MIB, 180.0, (Container.MP4, Container.WEBM, Container.MOV))
LONG: Final = UploadPolicy(
    "long",
    1536 * MIB,
    None,
    (Container.MOV, Container.MP4, Container.THREE_GP, Container.AVI, Container.WMV),
)
POLICIES: Final[Mapping[str, UploadPolicy]] = {SHORT.name: SHORT, LONG.name: LONG}


def policy_named(name: str) -> UploadPolicy:
    """Return the policy of this name.

    Raises:
        ValidationFailed: VALIDATION_ERROR, ``details.field`` is ``policy``.
    """
    policy = POLICIES.get(name)
    if policy is None:
        raise ValidationFailed(
            "There is no such upload policy.",
            details={"field": "policy", "value": name, "supported": sorted(POLICIES)},
        )
    return policy


def extension(container: Container) -> str:
    """Return the file name ending of a source (A43: ``videos/{id}/source.{ext}``).

    >>> extension(Container.THREE_GP)
    '3gp'
    """
    return EXTENSIONS[container]
