"""The ways in for a file, in steps that can be asked for again: a form, chunks, parts, a growing stream."""

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

PART = 5_242_880
PIECES = 3  # of a file in chunks
TUS = {"Tus-Resumable": "1.0.0"}


@dataclass
class Upload:
    """One file on its way to one server, for one client of the end-to-end tests."""

    client: Any
    name: str
    data: bytes
    policy: str = "short"
    title: str = "A clip"
    path: str = ""
    video: str = ""
    sent: set[int] = field(default_factory=set)
    body: Callable[[bytes], Any] = io.BytesIO

    async def go(self) -> Any:
        """Do what is not done yet; return the last answer: the video's, or the first refusal."""
        raise NotImplementedError

    async def open(self) -> Any:
        """Open a session where the way has one; return the refusal, None when it is open."""

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        return await self.client.call(method, path, **options)

    @property
    def refused(self) -> bool:
        """Whether the last answer was a refusal."""
        return bool(self.client.status >= 400)


class Form(Upload):
    """All at once: what was cut is sent again as a whole."""

    async def go(self) -> Any:
        form = aiohttp.FormData()
        form.add_field("title", self.title)
        form.add_field("policy", self.policy)
        form.add_field("file", self.body(self.data), filename=self.name)
        video = await self._ask("POST", "/api/v1/videos/upload", data=form)
        self.video = "" if self.refused else video["id"]
        return video


class Chunks(Upload):
    """Document 000: numbered chunks through the API."""

    def _cut(self) -> list[bytes]:
        size = max(1, -(-len(self.data) // PIECES))
        return [self.data[at : at + size] for at in range(0, len(self.data), size)] or [b""]

    async def open(self) -> Any:
        if not self.path:
            said = {"filename": self.name, "file_size": len(self.data), "total_chunks": len(self._cut())}
            opened = await self._ask("POST", "/api/v1/uploads", json={**said, "policy": self.policy})
            if self.refused:
                return opened
            self.path = f"/api/v1/uploads/{opened['session_id']}"
        return None

    async def go(self) -> Any:
        if refusal := await self.open():
            return refusal
        for number, chunk in enumerate(self._cut(), 1):
            if number not in self.sent:
                answer = await self._ask("PUT", f"{self.path}/chunks/{number}", data=self.body(chunk))
                if self.refused:
                    return answer
                self.sent.add(number)
        video = await self._ask("POST", f"{self.path}/finalize", json={"title": self.title})
        self.video = "" if self.refused else video["id"]
        return video


class Parts(Upload):
    """Document 001: a video that waits, and parts at signed URLs."""

    draft = ""

    async def go(self) -> Any:
        if refusal := await self.open():
            return refusal
        numbers = [number + 1 for number in range(-(-len(self.data) // PART)) if number + 1 not in self.sent]
        if numbers:
            wanted = await self._ask("POST", f"{self.path}/parts", json={"part_numbers": numbers})
            if self.refused:
                return wanted
            for target in wanted["parts"]:
                part = self.data[(target["part_number"] - 1) * PART :][:PART]
                length = {"Content-Length": str(len(part))}  # it is signed
                answer = await self._ask("PUT", target["upload_url"], data=self.body(part), headers=length)
                if self.refused:
                    return answer
                self.sent.add(target["part_number"])
        done = await self._ask("POST", f"{self.path}/complete", json={})
        self.video = "" if self.refused else self.draft
        return done

    async def open(self) -> Any:
        if self.path:
            return None
        said = {"source_size_bytes": len(self.data)}
        if not self.draft:
            video = await self._ask(
                "POST", "/api/v1/videos", json={"title": self.title, "policy": self.policy, **said}
            )
            if self.refused:
                return dict(video)
            self.draft = video["id"]
        opened = await self._ask("POST", f"/api/v1/videos/{self.draft}/uploads", json=said)
        if self.refused:
            return dict(opened)
        self.path = f"/api/v1/uploads/{opened['upload_session_id']}"
        return None


class Stream(Upload):
    """tus: one stream that goes on at the offset which the server tells."""

    async def open(self) -> Any:
        if not self.path:
            said = {"filename": self.name, "title": self.title, "policy": self.policy}
            told = ",".join(
                f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in said.items()
            )
            headers = {**TUS, "Upload-Length": str(len(self.data)), "Upload-Metadata": told}
            opened = await self._ask("POST", "/api/v1/tus", headers=headers)
            if self.refused:
                return opened
            self.path = urlsplit(self.client.headers["Location"]).path
        return None

    async def offset(self) -> int:
        """Ask how much has come; of all bytes this makes the video, and says which."""
        await self._ask("HEAD", self.path, headers=TUS)
        return int(self.client.headers.get("Upload-Offset", 0))

    async def go(self) -> Any:
        if refusal := await self.open():
            return refusal
        offset, answer = await self.offset(), None
        if "X-Video-Id" not in self.client.headers:
            body = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            answer = await self._ask(
                "PATCH", self.path, data=self.body(self.data[offset:]), headers=TUS | body
            )
            if self.refused:
                return answer
        self.video = self.client.headers["X-Video-Id"]
        return answer


WAYS: Mapping[str, type[Upload]] = {"form": Form, "chunks": Chunks, "parts": Parts, "stream": Stream}


def stored(server: Any) -> dict[str, int]:
    """Return the sources in the store by video, with their sizes."""
    root = server.data / "objects" / "videos"
    return {path.parent.name: path.stat().st_size for path in root.glob("*/source.*")}


def leftovers(server: Any) -> dict[str, Any]:
    """Return what nobody will ever ask for again: a store and a table that differ, bytes of ended sessions.

    Sessions that are open keep their bytes; of all others nothing may be left, and nothing of forms.
    """
    rows = dict(
        server.query("SELECT id, source_key FROM videos WHERE source_key IS NOT NULL AND source_key != ''")
    )
    opened = {row[0] for row in server.query(
        "SELECT id FROM upload_sessions WHERE status IN ('INITIATED', 'IN_PROGRESS', 'PAUSED')"
    )}  # fmt: skip
    waiting = {path.split("/")[0] for path in server.files("uploads")}
    found = stored(server)
    return {
        name: value
        for name, value in {
            "objects without a row": sorted(set(found) - set(rows)),
            "rows without an object": sorted(set(rows) - set(found)),
            "parts without an open session": sorted(waiting - opened),
            "temporary files": sorted(server.files("tmp/uploads")),
        }.items()
        if value
    }
