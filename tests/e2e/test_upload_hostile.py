"""Hostile files by every way in: the same verdict, the same state, nothing left over (A3-A7, A19, A54)."""

import asyncio
import re

import psutil
import pytest
from upload_ways import WAYS, leftovers

from media.policies import LONG, SHORT
from media.sniff import sniff_file

SERVER_MEMORY_BYTES = 450 * 1024 * 1024
#: Codes by class of shared/media/README.md; None is a file that is taken.
EXPECTED = {
    "F": {"INVALID_FORMAT"},
    "C": {"CORRUPTED_FILE"},
    "N": {"CORRUPTED_FILE"},
    "U": {"INVALID_FORMAT"},
    "T": {"CORRUPTED_FILE", "DURATION_EXCEEDED"},
    "D": {"INVALID_FORMAT"},
    "P": {"CORRUPTED_FILE", None},
    "W": {None},
}


async def judged(client, way, path):
    """Upload a file; return the code of its refusal and the state of its session, None without one."""
    policy = SHORT if sniff_file(path) in SHORT.formats else LONG  # as its owner would upload it
    upload = WAYS[way](client, path.name, path.read_bytes(), policy.name)
    answer = await upload.go()
    if not upload.refused:
        return None, "COMPLETED"
    code = answer["error"]["code"]
    if not upload.path:
        return code, None
    rows = client.server.query("SELECT status FROM upload_sessions WHERE id = ?", upload.path.split("/")[-1])
    return code, rows[0][0]


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
async def test_hostile_files_get_one_verdict_when_they_come_by_any_way(
    make_server, make_client, shared_dir, every
):
    """Form, chunks, parts and tus: code and state by class; no object, part or temporary file is left."""
    server = make_server()
    await server.start()
    rows = re.findall(
        r"^\| (\S+) \| [\d.]+ \| .*? \| ([A-Z]) \|",
        (shared_dir / "media/README.md").read_text(),
        re.MULTILINE,
    )
    classes, wrong, peak = dict(rows), [], 0
    owners = {way: await make_client(server).register() for way in WAYS}
    files = sorted((shared_dir / "media/hostile").iterdir())
    assert len(files) == 45
    for path in files[::every]:
        found = dict(
            zip(WAYS, await asyncio.gather(*(judged(owners[way], way, path) for way in WAYS)), strict=True)
        )
        peak = max(peak, psutil.Process(server.process.pid).memory_info().rss)
        codes = {code for code, _ in found.values()}
        states = {state for _, state in found.values() if state is not None} - {"COMPLETED"}
        if len(codes) > 1 or not codes <= EXPECTED[classes[path.name]] or not states <= {"FAILED"}:
            wrong.append((path.name, classes[path.name], found))
    assert not wrong
    assert leftovers(server) == {}
    assert peak < SERVER_MEMORY_BYTES
