"""tus 1.0.0 over HTTP: the protocol word for word, its extensions, codes, and who may do what (A49, Y5)."""

import asyncio
import base64
import hashlib
import json
import re
from email.utils import parsedate_to_datetime
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from social.views import Principal
from web import bodies

DATA = b"video" + bytes(range(256)) * 4
ROOT = "/api/v1/tus"
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}


def metadata(**said):
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items())


NAMED = {"Upload-Metadata": metadata(filename="My clip.mp4")}


class Tus:
    """One person's requests of tus; ``headers`` of the last answer are kept."""

    def __init__(self, front, person):
        self.front, self.person, self.headers = front, person, {}

    async def ask(self, method, path=ROOT, data=None, **headers):
        headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        headers = {**TUS, **(self.person.headers if self.person else {}), **headers}
        headers = {name: value for name, value in headers.items() if value != "None"}
        async with self.front.client.request(method, path, data=data, headers=headers) as answer:
            text = await answer.text()
            self.headers = answer.headers
            return answer.status, json.loads(text)["error"] if answer.status >= 400 and text else text

    async def create(self, size=None, **headers):
        said = {"Upload-Length": len(DATA) if size is None else size, **NAMED, **headers}
        status, text = await self.ask("POST", **said)
        assert status == 201, text
        return self.headers["Location"]

    async def patch(self, path, offset, data, **headers):
        return await self.ask("PATCH", path, data, Upload_Offset=offset, **BYTES, **headers)

    async def head(self, path):
        status, _ = await self.ask("HEAD", path)
        assert status == 204
        return int(self.headers["Upload-Offset"])

    async def video(self):
        """Return the video that the last answer names, and the bytes of its source."""
        video_id = self.headers["X-Video-Id"]
        assert self.headers["Content-Location"] == f"/api/v1/videos/{video_id}"
        async with self.front.client.get(f"/api/v1/videos/{video_id}", headers=self.person.headers) as answer:
            video = await answer.json()
        sources = list((self.front.folder / "objects" / "videos" / video_id).glob("source.*"))
        return video, sources[0].read_bytes()


@pytest.fixture
def tus(front, ada):
    return Tus(front, ada)


async def test_server_says_what_it_supports_when_asked(front, tus):
    """tus Core: OPTIONS needs neither version nor token; the draft's limits are beside it."""
    status, _ = await Tus(front, None).ask("OPTIONS", Tus_Resumable=None)
    assert status == 204
    tus.headers = (await front.client.options(ROOT)).headers
    assert tus.headers["Tus-Version"] == "1.0.0"
    assert set(tus.headers["Tus-Extension"].split(",")) == {
        "creation", "creation-with-upload", "creation-defer-length", "checksum", "expiration", "termination",
        "concatenation",
    }  # fmt: skip
    assert tus.headers["Tus-Max-Size"] == str(1536 * 1024 * 1024)
    assert set(tus.headers["Tus-Checksum-Algorithm"].split(",")) == {"sha1", "sha256", "md5"}
    assert "application/partial-upload" in tus.headers["Accept-Patch"]
    assert tus.headers["Upload-Limit"].startswith("max-size=1610612736")


async def test_patches_become_a_video_when_the_last_byte_is_in(front, tus):
    """A49: creation, HEAD, PATCH at the offset; metadata from Upload-Metadata."""
    said = metadata(filename="a.mp4", title="Ä film", description="It runs.", tags="#Cats,dogs",
                    visibility="PRIVATE", policy="long", other="kept")  # fmt: skip
    path = await tus.create(**{"Upload-Metadata": said})
    assert re.fullmatch(ROOT + "/[0-9a-f-]{36}", path)
    expires = parsedate_to_datetime(tus.headers["Upload-Expires"]).timestamp()
    assert front.clock() < expires < front.clock() + 100_000
    assert await tus.head(path) == 0
    assert (tus.headers["Upload-Length"], tus.headers["Upload-Metadata"]) == (str(len(DATA)), said)
    assert (tus.headers["Cache-Control"], tus.headers["Tus-Resumable"]) == ("no-store", "1.0.0")
    assert (await tus.patch(path, 0, DATA[:300]))[0] == 204
    assert (tus.headers["Upload-Offset"], "X-Video-Id" in tus.headers) == ("300", False)
    assert await tus.head(path) == 300
    assert (await tus.patch(path, 300, DATA[300:]))[0] == 204
    assert tus.headers["Upload-Offset"] == str(len(DATA))
    video, source = await tus.video()
    assert source == DATA
    assert (video["title"], video["description"]) == ("Ä film", "It runs.")
    assert (video["tags"], video["visibility"]) == (["cats", "dogs"], "PRIVATE")
    assert await tus.head(path) == len(DATA)
    assert tus.headers["X-Video-Id"] == video["id"]


async def test_creation_takes_bytes_when_they_come_along(tus):
    """tus creation-with-upload; a title that is missing is the file's name."""
    path = await tus.create(**{"Upload-Length": 900})
    status, _ = await tus.ask("POST", data=DATA[:700], Upload_Length=len(DATA), **NAMED, **BYTES)
    assert (status, tus.headers["Upload-Offset"]) == (201, "700")
    assert tus.headers["Location"] != path
    path = tus.headers["Location"]
    await tus.patch(path, 700, DATA[700:])
    assert (await tus.video())[0]["title"] == "My clip"
    status, _ = await tus.ask("POST", data=DATA, Upload_Length=len(DATA), **NAMED, **BYTES)
    assert (status, (await tus.video())[1]) == (201, DATA)


async def test_length_may_be_told_later_when_deferred(tus):
    """tus creation-defer-length: once told, it stays."""
    status, _ = await tus.ask("POST", Upload_Defer_Length=1, **NAMED)
    path = tus.headers["Location"]
    await tus.patch(path, 0, DATA[:10])
    assert (await tus.head(path), tus.headers["Upload-Defer-Length"]) == (10, "1")
    assert (await tus.patch(path, 10, DATA[10:20], Upload_Length=len(DATA)))[0] == 204
    assert (await tus.head(path), tus.headers["Upload-Length"]) == (20, str(len(DATA)))
    status, error = await tus.patch(path, 20, DATA[20:], Upload_Length=len(DATA) + 1)
    assert (status, error["code"]) == (400, "VALIDATION_ERROR")
    assert (await tus.patch(path, 20, DATA[20:]))[0] == 204
    assert (await tus.video())[1] == DATA


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
async def test_wrong_chunk_leaves_nothing_when_it_has_a_checksum(tus, algorithm):
    """tus checksum: 460, and the chunk is discarded; the right one counts."""
    path = await tus.create()
    right = base64.b64encode(hashlib.new(algorithm, DATA[:500]).digest()).decode()
    status, error = await tus.patch(path, 0, DATA[1:501], Upload_Checksum=f"{algorithm} {right}")
    assert (status, error["code"]) == (460, "CHUNK_CHECKSUM_MISMATCH")
    assert await tus.head(path) == 0
    assert (await tus.patch(path, 0, DATA[:500], Upload_Checksum=f"{algorithm} {right}"))[0] == 204
    assert await tus.head(path) == 500
    status, error = await tus.patch(path, 0, DATA[:500], Upload_Checksum=f"{algorithm} {right}")
    assert (status, error["code"], tus.headers["Upload-Offset"]) == (409, "CONFLICT", "500")


async def test_nothing_is_left_when_terminated(front, tus):
    """tus termination: 204, then 410; the store has nothing."""
    path = await tus.create()
    await tus.patch(path, 0, DATA[:100])
    assert list((front.folder / "parts").rglob("appended"))
    assert (await tus.ask("DELETE", path))[0] == 204
    for method in ("HEAD", "PATCH", "DELETE"):
        status, _ = await tus.ask(method, path, None, Upload_Offset=100, **BYTES)
        assert status == 410
    assert list((front.folder / "parts").rglob("*")) == []


async def test_pieces_become_one_video_when_joined(tus):
    """tus concatenation: sent at the same time, joined in the order of the final, URLs absolute or not."""
    cuts = (DATA[:600], DATA[600:])
    pieces = [await tus.create(len(cut), Upload_Concat="partial", Upload_Metadata=None) for cut in cuts]
    answers = await asyncio.gather(
        *(Tus(tus.front, tus.person).patch(piece, 0, cut) for piece, cut in zip(pieces, cuts, strict=True))
    )
    assert [status for status, _ in answers] == [204, 204]
    assert (await tus.head(pieces[0]), tus.headers["Upload-Concat"]) == (600, "partial")
    assert "X-Video-Id" not in tus.headers
    final = f"final;{pieces[0]} http://front.test{pieces[1]}"
    status, _ = await tus.ask("POST", Upload_Concat=final, **NAMED)
    assert status == 201
    assert (await tus.video())[1] == DATA
    path = tus.headers["Location"]
    assert (await tus.head(path), tus.headers["Upload-Concat"]) == (len(DATA), final)
    assert [(await tus.ask("HEAD", piece))[0] for piece in pieces] == [410, 410]


async def test_pieces_stay_when_what_they_make_up_is_no_video(tus):
    """DESIGN invariant 2: the wrong way round they are refused, the right way round a film."""
    pieces = [await tus.create(600, Upload_Concat="partial"), await tus.create(500, Upload_Concat="partial")]
    await tus.patch(pieces[0], 0, DATA[:600])
    await tus.patch(pieces[1], 0, b"x" * 500)
    status, error = await tus.ask("POST", Upload_Concat=f"final;{pieces[1]} {pieces[0]}", **NAMED)
    assert (status, error["code"]) == (400, "INVALID_FORMAT")
    assert (await tus.ask("POST", Upload_Concat=f"final;{pieces[0]} {pieces[1]}", **NAMED))[0] == 201
    assert (await tus.video())[1] == DATA[:600] + b"x" * 500


async def test_video_is_made_by_asking_when_the_last_answer_was_lost(front, tus):
    """A37: all bytes are here and nobody made the video: HEAD is all that tus has left."""
    path = await tus.create()

    async def whole():
        yield DATA

    await front.deps.uploads.append(path.rsplit("/", 1)[1], None, 0, whole())
    assert await tus.head(path) == len(DATA)
    assert (await tus.video())[1] == DATA


async def test_join_is_refused_when_a_piece_is_missing_or_somebody_elses(front, tus):
    """tus concatenation: 4xx, and the pieces go on."""
    piece = await tus.create(500, Upload_Concat="partial")
    await tus.patch(piece, 0, DATA[:400])
    status, error = await tus.ask("POST", Upload_Concat=f"final;{piece}", **NAMED)
    assert (status, error["code"]) == (400, "INVALID_CHUNK_SEQUENCE")
    await tus.patch(piece, 400, DATA[400:500])
    bob = Tus(front, await front.person("bob"))
    status, error = await bob.ask("POST", Upload_Concat=f"final;{piece}", **NAMED)
    assert (status, error["code"]) == (403, "NOT_CONTENT_OWNER")
    status, error = await tus.ask("POST", Upload_Concat=f"final;{piece}", Upload_Length=500, **NAMED)
    assert (status, error["code"]) == (400, "VALIDATION_ERROR")
    assert (await tus.ask("POST", Upload_Concat=f"final;{piece}", **NAMED))[0] == 201


async def test_version_is_refused_when_it_is_another(tus):
    """tus Core: 412 with Tus-Version."""
    path = await tus.create()
    for method, at, version in (("POST", ROOT, "2.0"), ("PATCH", path, "0.2.2"), ("HEAD", path, "1.0"),
                                ("DELETE", path, "1.1.0"), ("POST", ROOT, None)):  # fmt: skip
        status, _ = await tus.ask(method, at, None, Tus_Resumable=version, Upload_Length=5, Upload_Offset=0)
        assert (status, tus.headers["Tus-Version"]) == (412, "1.0.0"), method
    assert await tus.head(path) == 0


WRONG = (
    ({"Upload-Length": None}, 400, "VALIDATION_ERROR", "Upload-Length"),
    ({"Upload-Defer-Length": "1"}, 400, "VALIDATION_ERROR", "Upload-Length"),
    ({"Upload-Length": "-1"}, 400, "VALIDATION_ERROR", "Upload-Length"),
    ({"Upload-Length": "1_0"}, 400, "VALIDATION_ERROR", "Upload-Length"),
    ({"Upload-Length": "0"}, 400, "CORRUPTED_FILE", "size"),
    ({"Upload-Length": str(600 * 1024 * 1024)}, 413, "FILE_TOO_LARGE", None),
    ({"Upload-Length": None, "Upload-Defer-Length": "2"}, 400, "VALIDATION_ERROR", "Upload-Defer-Length"),
    ({"Upload-Metadata": ""}, 400, "VALIDATION_ERROR", "title"),
    ({"Upload-Metadata": "filename ?"}, 400, "VALIDATION_ERROR", "Upload-Metadata"),
    ({"Upload-Metadata": "title /w==,filename YQ=="}, 400, "VALIDATION_ERROR", "title"),
    ({"Upload-Metadata": metadata(title="t", policy="none")}, 400, "VALIDATION_ERROR", "policy"),
    ({"Upload-Metadata": metadata(title="t" * 201)}, 400, "CONTENT_TOO_LONG", "title"),
    ({"Upload-Metadata": metadata(title="t", visibility="ALL")}, 400, "INVALID_VISIBILITY", None),
    ({"Upload-Metadata": metadata(title="t", filetype="text/plain")}, 400, "INVALID_FORMAT", None),
    ({"Upload-Concat": "half"}, 400, "VALIDATION_ERROR", "Upload-Concat"),
)


async def test_creation_is_refused_when_its_headers_are_wrong(tus):
    """O1, A10: the code and the field, before the first byte."""
    for headers, status, code, field in WRONG:
        found, error = await tus.ask("POST", **{"Upload-Length": 10, **NAMED, **headers})
        assert (found, error["code"]) == (status, code), headers
        assert field is None or error["details"]["field"] == field, headers
        assert tus.headers["Tus-Resumable"] == "1.0.0"


async def test_patch_is_refused_when_its_headers_are_wrong(tus):
    """tus Core: 409 at another offset, 415 for another type, 400 without an offset, 413 past the length."""
    path = await tus.create()
    for offset, data, more, status in (
        (5, DATA, {}, 409),
        ("x", DATA, {}, 400),
        (0, DATA, {"Content-Type": "video/mp4"}, 415),
        (0, DATA, {"Upload-Checksum": "crc32 AAAA"}, 400),
    ):
        headers = {**BYTES, "Upload-Offset": offset, **more}
        assert (await tus.ask("PATCH", path, data, **headers))[0] == status
    assert await tus.head(path) == 0
    status, error = await tus.patch(path, 0, DATA + b"more" * 100_000)
    assert (status, error["code"]) == (413, "FILE_TOO_LARGE")


async def test_video_is_refused_with_its_code_when_the_bytes_are_none(tus):
    """O3: the probe's code in the answer to the last byte; afterwards the upload has ended."""
    path = await tus.create()
    status, error = await tus.patch(path, 0, b"x" * len(DATA))
    assert (status, error["code"]) == (400, "INVALID_FORMAT")
    assert (await tus.ask("HEAD", path))[0] == 410


async def test_upload_is_only_its_owners_when_others_ask(front, tus):
    """A55: 401 without a token, 403 with another's, 404 for what is no upload."""
    path = await tus.create()
    bob = Tus(front, await front.person("bob"))
    for method in ("HEAD", "PATCH", "DELETE"):
        ask = {"Upload_Offset": 0, **BYTES}
        assert (await bob.ask(method, path, None, **ask))[0] == 403
        assert (await Tus(front, None).ask(method, path, None, **ask))[0] == 401
        assert (await tus.ask(method, f"{ROOT}/{uuid4()}", None, **ask))[0] == 404
    assert await tus.head(path) == 0


async def test_session_is_gone_when_its_time_has_passed(front, tus):
    """A35, tus expiration: 410 SESSION_EXPIRED."""
    path = await tus.create()
    front.clock.ahead = 90_000
    ada = tus.person
    ada.token = front.tokens.issue(Principal(ada.id, ada.username, ada.role, str(uuid4())))
    assert (await tus.ask("HEAD", path))[0] == 410
    status, error = await tus.patch(path, 0, DATA)
    assert (status, error["code"]) == (410, "SESSION_EXPIRED")


async def test_method_is_another_when_overridden(tus):
    """tus Core: X-HTTP-Method-Override."""
    path = await tus.create()
    over = "X-HTTP-Method-Override"
    status, _ = await tus.ask("POST", path, DATA[:9], Upload_Offset=0, **BYTES, **{over: "PATCH"})
    assert (status, tus.headers["Upload-Offset"]) == (204, "9")
    assert (await tus.ask("POST", path, **{over: "HEAD"}), tus.headers["Upload-Offset"]) == ((204, ""), "9")
    assert (await tus.ask("POST", path, **{over: "PUT"}))[0] == 400
    assert (await tus.ask("POST", path, **{over: "DELETE"}))[0] == 204
    assert (await tus.ask("HEAD", path))[0] == 410


async def test_one_of_two_wins_when_they_send_at_once(tus):
    """A36: the other gets 409, and the bytes are one request's."""
    path = await tus.create()
    started = asyncio.Event()

    async def slowly():
        yield DATA[:400]
        await started.wait()
        yield DATA[400:]

    other = Tus(tus.front, tus.person)
    first = asyncio.create_task(tus.patch(path, 0, slowly()))
    while not list((tus.front.folder / "parts").rglob("appended")):  # the first has the lock by then
        await asyncio.sleep(0.01)
    status, error = await other.patch(path, 0, b"y" * len(DATA))
    assert (status, error["code"]) == (409, "CONFLICT")
    started.set()
    assert (await first)[0] == 204
    assert (await tus.video())[1] == DATA


async def test_sender_is_cut_off_when_it_stands_still(tus, monkeypatch):
    """A36: a connection that died without a word does not keep its owner out; what it brought counts."""
    monkeypatch.setattr(bodies, "IDLE_SECONDS", 0.2)
    path = await tus.create()
    never = asyncio.Event()

    async def dead():
        yield DATA[:400]
        await never.wait()

    stuck = asyncio.create_task(tus.patch(path, 0, dead()))
    other = Tus(tus.front, tus.person)
    while await other.head(path) < 400:
        await asyncio.sleep(0.02)
    while (await other.patch(path, 400, DATA[400:]))[0] == 409:
        await asyncio.sleep(0.02)
    assert (await other.video())[1] == DATA
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


async def test_browser_of_another_origin_may_speak_tus_when_configured(build):
    """N12: the preflight allows tus headers, and answers expose theirs."""
    front = await build(cors_origins=("https://app.test",))
    ask = {"Origin": "https://app.test", "Access-Control-Request-Method": "PATCH"}
    async with front.client.options(f"{ROOT}/x", headers=ask) as answer:
        assert answer.status == 204
        allowed = {name.strip() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert {
        "Tus-Resumable",
        "Upload-Offset",
        "Upload-Metadata",
        "Upload-Checksum",
        "Upload-Concat",
    } <= allowed
    tus = Tus(front, await front.person("ada"))
    await tus.create(Origin="https://app.test")
    exposed = {name.strip() for name in tus.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"Location", "Upload-Offset", "Upload-Length", "X-Video-Id", "Tus-Resumable"} <= exposed


step = st.tuples(
    st.integers(0, 700), st.sampled_from(["whole", "checked", "cut", "lost", "wrong offset", "corrupt"])
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, max_size=8))
async def test_bytes_are_equal_when_patches_are_cut_and_repeated(tus, steps):
    """A36, A49: any sequence of PATCHes of any size, with cuts, lost answers and retries."""
    path = await tus.create()
    known = 0
    for size, fate in steps:
        if known >= len(DATA) - 1:
            break
        piece = DATA[known : min(known + size, len(DATA) - 1)]  # the last byte comes at the end
        if fate == "wrong offset":
            assert (await tus.patch(path, known + 1, piece))[0] == 409
        elif fate == "cut":
            await _cut(tus, path, known, piece)
        elif fate in {"checked", "corrupt"}:
            digest = base64.b64encode(hashlib.sha1(piece if fate == "checked" else piece + b"!").digest())
            status, _ = await tus.patch(path, known, piece, Upload_Checksum=f"sha1 {digest.decode()}")
            assert status == (204 if fate == "checked" else 460)
        else:
            assert (await tus.patch(path, known, piece))[0] == 204
        offset = await tus.head(path)
        assert known <= offset <= known + len(piece)
        if fate in {"whole", "checked", "lost"}:
            assert offset == known + len(piece)
        elif fate != "cut":
            assert offset == known
        if fate == "lost":  # its client asks with the old offset first
            assert (await tus.patch(path, offset - 1, b"?"))[0] == 409
        known = offset
    assert (await tus.patch(path, known, DATA[known:]))[0] == 204
    assert (await tus.video())[1] == DATA


async def _cut(tus, path, offset, piece):
    """Send the beginning of a PATCH and close the connection."""
    cut = tus.front.deps.metrics.requests.labels("append_resumable_upload", "PATCH", "499")
    url, before = tus.front.client.make_url(path), cut._value.get()
    _, writer = await asyncio.open_connection(url.host, url.port)
    head = [f"PATCH {path} HTTP/1.1", "Host: front.test", f"Authorization: Bearer {tus.person.token}",
            "Tus-Resumable: 1.0.0", f"Upload-Offset: {offset}", f"Content-Type: {BYTES['Content-Type']}",
            f"Content-Length: {len(DATA)}", "", ""]  # fmt: skip
    writer.write("\r\n".join(head).encode() + piece)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    while cut._value.get() == before:  # until the server is through with it
        await asyncio.sleep(0.01)
