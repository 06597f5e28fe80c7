"""The IETF's resumable uploads, interop version 8, at the URLs of tus (A49, Y5; sections of draft 12)."""

import asyncio
import json

import pytest

from tables.lifecycle import UploadStatus

DATA = b"video" + bytes(range(256)) * 4
ROOT = "/api/v1/tus"
PARTIAL = {"Content-Type": "application/partial-upload"}
FILE = {"Content-Type": "video/mp4", "Content-Disposition": 'inline; filename="My clip.mp4"'}
VERSION = {"Upload-Draft-Interop-Version": "8"}


class Draft:
    """One person's requests; ``headers`` of the last answer are kept."""

    def __init__(self, front, person):
        self.front, self.person, self.headers = front, person, {}

    async def ask(self, method, path=ROOT, data=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {**self.person.headers, **VERSION, **headers}
        async with self.front.client.request(method, path, data=data, headers=headers) as answer:
            text = await answer.text()
            self.headers = answer.headers
            return answer.status, json.loads(text) if text else None

    async def patch(self, path, offset, data, complete, **headers):
        said = {"Upload_Offset": str(offset), "Upload_Complete": complete, **PARTIAL, **headers}
        return await self.ask("PATCH", path, data, **said)

    def source(self, video):
        folder = self.front.folder / "objects" / "videos" / video["id"]
        return next(folder.glob("source.*")).read_bytes()


@pytest.fixture
def draft(front, ada):
    return Draft(front, ada)


async def test_one_request_is_an_upload_when_it_is_complete(draft):
    """4.2: the answer is that of a form upload; the name is Content-Disposition's."""
    status, video = await draft.ask("POST", data=DATA, Upload_Complete="?1", **FILE)
    assert (status, video["title"], draft.headers["Upload-Complete"]) == (201, "My clip", "?1")
    assert draft.headers["Location"] == f"/api/v1/videos/{video['id']}"
    assert draft.headers["X-Video-Id"] == video["id"]
    assert draft.source(video) == DATA


async def test_parts_are_an_upload_when_the_length_comes_at_the_end(draft):
    """4.2, 4.3, 4.4: creation, offset, append, completion by an empty request."""
    status, _ = await draft.ask("POST", data=DATA[:100], Upload_Complete="?0", **FILE)
    path = draft.headers["Location"]
    assert (status, draft.headers["Upload-Complete"]) == (201, "?0")
    assert draft.headers["Upload-Limit"].startswith("max-size=524288000, min-size=1, max-age=")
    status, _ = await draft.ask("HEAD", path)
    assert (status, draft.headers["Upload-Offset"], draft.headers["Upload-Complete"]) == (204, "100", "?0")
    assert (draft.headers["Cache-Control"], "Upload-Length" in draft.headers) == ("no-store", False)
    assert (await draft.patch(path, 100, DATA[100:], "?0"))[0] == 204
    assert (draft.headers["Upload-Offset"], draft.headers["Upload-Complete"]) == (str(len(DATA)), "?0")
    status, error = await draft.patch(path, 5, b"", "?1")
    assert (status, error["error"]["code"]) == (409, "CONFLICT")
    assert draft.headers["Upload-Offset"] == str(len(DATA))
    status, video = await draft.patch(path, len(DATA), b"", "?1")
    assert (status, draft.headers["Upload-Complete"], draft.source(video)) == (201, "?1", DATA)
    await draft.ask("HEAD", path)
    assert (draft.headers["Upload-Complete"], draft.headers["Upload-Length"]) == ("?1", str(len(DATA)))
    assert draft.headers["X-Video-Id"] == video["id"]
    status, _ = await draft.patch(path, len(DATA), b"more", "?1")
    assert 400 <= status < 500


async def test_request_is_refused_when_lengths_differ_or_are_passed(front, draft):
    """4.1.3, 4.4.2: indicators match; more than the length makes the upload invalid."""
    status, error = await draft.ask("POST", data=DATA, Upload_Complete="?1", Upload_Length="5", **FILE)
    assert (status, error["error"]["details"]["field"]) == (400, "Upload-Length")
    await draft.ask("POST", Upload_Complete="?0", Upload_Length="50", **FILE)
    path = draft.headers["Location"]
    status, error = await draft.patch(path, 0, DATA, "?0")
    assert (status, error["error"]["code"]) == (413, "FILE_TOO_LARGE")
    assert "max-size=" in draft.headers["Upload-Limit"]
    assert (await draft.ask("HEAD", path))[0] == 410
    session = await front.deps.uploads.get(path.rsplit("/", 1)[1], None)
    assert (session.status, session.fail_code) == (UploadStatus.FAILED, "FILE_TOO_LARGE")


async def test_request_is_refused_when_its_headers_are_wrong(draft):
    """4.1, 4.4: another type, no offset, no boolean; neither protocol is spoken."""
    await draft.ask("POST", Upload_Complete="?0", **FILE)
    path = draft.headers["Location"]
    for method, at, headers, status in (
        ("PATCH", path, {"Upload_Offset": "0", "Upload_Complete": "?1"}, 415),
        ("PATCH", path, {"Upload_Complete": "?1", **PARTIAL}, 400),
        ("PATCH", path, {"Upload_Offset": "0", "Upload_Complete": "1", **PARTIAL}, 400),
        ("PATCH", path, {"Upload_Offset": "0", **PARTIAL}, 412),
        ("POST", ROOT, {"Upload_Complete": "yes", **FILE}, 400),
        ("POST", ROOT, FILE, 412),
        ("POST", ROOT, {"Upload_Complete": "?0"}, 400),  # neither title nor name
    ):
        assert (await draft.ask(method, at, None, **headers))[0] == status, (method, headers)
    await draft.ask("HEAD", path)
    assert draft.headers["Upload-Offset"] == "0"


async def test_answer_says_that_all_arrived_when_the_bytes_are_no_video(draft):
    """4.4, O3: Upload-Complete tells a fault of the bytes from one of the transfer."""
    await draft.ask("POST", Upload_Complete="?0", **FILE)
    status, error = await draft.patch(draft.headers["Location"], 0, b"no film", "?1")
    assert (status, error["error"]["code"], draft.headers["Upload-Complete"]) == (400, "INVALID_FORMAT", "?1")


async def test_nothing_is_left_when_canceled(front, draft):
    """4.5: DELETE; afterwards 410."""
    await draft.ask("POST", data=DATA[:9], Upload_Complete="?0", **FILE)
    path = draft.headers["Location"]
    assert (await draft.ask("DELETE", path))[0] == 204
    assert (await draft.ask("HEAD", path))[0] == 410
    assert list((front.folder / "parts").rglob("*")) == []


async def test_place_is_told_before_the_body_when_the_client_knows_104(draft):
    """4.2, 5: 104 with Location; the cut upload goes on from its offset. No 104 for other versions."""
    for version, told in (("8", True), ("3", False)):
        url = draft.front.client.make_url(ROOT)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        lines = [
            f"POST {ROOT} HTTP/1.1",
            "Host: front.test",
            f"Authorization: Bearer {draft.person.token}",
            "Upload-Complete: ?1",
            f"Upload-Draft-Interop-Version: {version}",
            "Content-Disposition: inline; filename=a.mp4",
            f"Content-Length: {len(DATA)}",
            "\r\n",
        ]
        writer.write("\r\n".join(lines).encode())
        if not told:
            writer.write(DATA)
            assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
            writer.close()
            continue
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 104 Upload Resumption Supported\r\n")
        assert "Upload-Draft-Interop-Version: 8\r\n" in head
        assert "Upload-Limit: max-size=524288000" in head
        path = head.split("Location: ")[1].split("\r\n")[0]
        writer.write(DATA[:600])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        while True:
            await draft.ask("HEAD", path)
            offset = int(draft.headers["Upload-Offset"])
            status, video = await draft.patch(path, offset, DATA[offset:], "?1")
            if status != 409:  # the server has not seen the end of the first request yet
                break
        assert (status, draft.source(video)) == (201, DATA)
