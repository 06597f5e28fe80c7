"""Embed a media file in a child process: the server never decodes (D1-D5, D9, D19, D24)."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

DIMENSIONS: Final = 512
TIMEOUT_SECONDS: Final = 30.0  # S4
_ROOT: Final = Path(__file__).resolve().parent.parent
# The child gets no secrets: a hostile file that takes over a decoder finds none.
_ENVIRONMENT: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class EmbedLimits:
    """What one child may use: bytes of address space, seconds of processor time."""

    address_space_bytes: int = 4 * 1024**3
    cpu_seconds: int = 60


@dataclass(frozen=True, slots=True)
class Source:
    """What is embedded: a local file and its words. ``path`` is opened by the child only."""

    path: Path
    title: str = ""
    description: str = ""
    tags: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Embedding:
    """A unit vector, float32[512], and the model that made it (D3, D8)."""

    vector: NDArray[np.float32]
    model_version: str

    def as_bytes(self) -> bytes:
        """Return the vector as float16[512], the form of ``Card.embedding``."""
        return self.vector.astype(np.float16).tobytes()


class EmbeddingError(Exception):
    """A file could not be embedded: undecodable, out of time, or out of its limits."""


class Encoder(Protocol):
    """A model: several can run side by side, told apart by their version (D19)."""

    model_version: str

    async def __call__(self, source: Source) -> Embedding:
        """Return the embedding of a source, or raise ``EmbeddingError``."""


class StatisticsEncoder:
    """The built-in encoder: statistics of frames, sound and words; needs no trained weights."""

    model_version: str

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS, limits: EmbedLimits | None = None) -> None:
        """Bound each child by wall time and limits."""
        # Imported late: the features package loads nothing heavy, but only encoders need it.
        from ranking.features.combine import MODEL_VERSION

        self.model_version = MODEL_VERSION
        self._timeout_seconds = timeout_seconds
        self._limits = limits or EmbedLimits()

    async def __call__(self, source: Source) -> Embedding:
        """Return the embedding of a source, or raise ``EmbeddingError``."""
        request = {
            "path": str(source.path.resolve()),
            "title": source.title,
            "description": source.description,
            "tags": list(source.tags),
            "limits": asdict(self._limits),
        }
        answer = await _run("ranking.workers.embed", request, self._timeout_seconds)
        if "error" in answer:
            raise EmbeddingError(str(answer["error"]))
        return _checked(answer)


async def embed_file(
    path: Path,
    *,
    title: str = "",
    description: str = "",
    tags: Sequence[str] = (),
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Embedding:
    """Return the embedding of a file by the built-in encoder; same input, same vector (D24).

    Raises:
        EmbeddingError: No frame can be decoded, or the child ran out of time or memory.
    """
    return await StatisticsEncoder(timeout_seconds)(Source(path, title, description, tags))


async def _run(module: str, request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """Run a child module on one request in its own process group; nothing of it survives this call."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-s",
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # One thread of BLAS: sums in another order would change the last bits of a vector.
        env=kept | {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        cwd="/",
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            out, err = await process.communicate(json.dumps(request).encode())
    except TimeoutError:
        raise EmbeddingError(f"no embedding after {timeout_seconds:g} s") from None
    except RuntimeError as error:  # uvloop's word for a pipe whose other end is gone
        raise EmbeddingError(f"the encoder ended before it was asked: {error}") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError:
        tail = err.decode(errors="replace")[-300:]
        raise EmbeddingError(f"the encoder ended with {process.returncode}: {tail}") from None
    return answer


def _checked(answer: dict[str, Any]) -> Embedding:
    vector = np.frombuffer(base64.b64decode(answer["vector"]), np.float32)
    if vector.size != DIMENSIONS or abs(float(np.linalg.norm(vector)) - 1.0) > 1e-3:
        raise EmbeddingError("the encoder returned no unit vector of 512 dimensions")
    return Embedding(vector, str(answer["model_version"]))
