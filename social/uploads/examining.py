"""What are these bytes: checksum, size, format, malware, in this order (A3-A7, A45, A54, L9)."""

from dataclasses import dataclass
from pathlib import Path

import structlog

from media.policies import UploadPolicy
from media.scanner import MalwareScanner, ScannerUnavailable
from social.uploads import rules
from social.uploads.model import Verdict
from social.uploads.tools import Probe
from tables.errors import InfectedFile

log = structlog.get_logger(__name__)
SCANS = 2  # L9: one retry, then the mark for manual review


@dataclass(frozen=True, slots=True)
class Declared:
    """What a client said of its file; None where it said nothing."""

    policy: UploadPolicy
    filename: str | None = None
    size_bytes: int | None = None
    mime: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Examiner:
    """Looks at a whole file."""

    probe: Probe
    scanner: MalwareScanner

    async def __call__(self, path: Path, sha256: str, declared: Declared) -> Verdict:
        """Return what the file is, when it may be processed; ``sha256`` is its own.

        Raises:
            ChecksumMismatch: CHECKSUM_MISMATCH: not the declared bytes, size or type.
            FileTooLarge: FILE_TOO_LARGE.
            InvalidFormat: INVALID_FORMAT.
            CorruptedFile: CORRUPTED_FILE.
            DurationExceeded: DURATION_EXCEEDED.
            InfectedFile: INFECTED_FILE.
            ServiceUnavailable: SERVICE_UNAVAILABLE: the probe could not run; try again.
        """
        rules.check_sha256(sha256, declared.sha256)
        source = await self.probe(path, declared.policy, filename=declared.filename or "")
        found = Verdict(
            sha256=sha256,
            size_bytes=source.size_bytes,
            container=source.container,
            mime=source.mime,
            duration_seconds=source.duration_seconds,
            width=source.width,
            height=source.height,
            needs_review=not await self._is_scanned(path),
        )
        rules.check_verdict(found, declared.size_bytes, declared.mime, declared.sha256)
        return found

    async def _is_scanned(self, path: Path) -> bool:
        """Refuse what is infected; False when the scanner does not say (X46)."""
        for attempt in range(1, SCANS + 1):
            try:
                name = await self.scanner.scan(path)
            except ScannerUnavailable as error:
                log.warning("malware_scanner_unavailable", attempt=attempt, error=str(error))
                continue
            if name is not None:
                log.warning("malware_found", name=name)
                raise InfectedFile(details={"found": name})
            return True
        return False
