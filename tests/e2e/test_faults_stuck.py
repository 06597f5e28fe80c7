"""An agent whose handler never returns ends the process; the next handles what it held (O39, P37)."""

import asyncio
import subprocess
import sys
from uuid import uuid4

import pytest

CLIP = "media/clips/bear-vp9-odd-dimensions.webm"
STUCK_SECONDS = 6
ENDS_WITHIN_SECONDS = 60
#: A server whose counting agent hangs at its first slice; ``count`` is looked up at each call.
HANGING = """
import asyncio, time
from streams.agents import engagement
async def count(*_):
    {hang}
engagement.count = count
from freewill.cli import main
main()
"""


@pytest.mark.parametrize(
    ("hang", "said"),
    [
        pytest.param("await asyncio.Event().wait()", "AgentStuck", id="waiting"),
        pytest.param("time.sleep(3600)", "event_loop_blocked", id="blocking", marks=pytest.mark.slow),
    ],
)
async def test_process_ends_and_the_next_counts_when_an_agent_hangs(
    make_server, make_client, shared_dir, hang, said
):
    """/readyz and a metric name the agent; exit code 1 is a supervisor's cue; nothing is lost."""
    server = make_server(FREEWILL_STREAMS_STUCK_SECONDS=str(STUCK_SECONDS))
    await server.start()
    owner = await make_client(server).register()
    video_id = (await owner.upload(shared_dir / CLIP))["id"]
    await owner.wait_status(video_id, "READY")
    viewer = await make_client(server).register()
    server.kill()

    with server.log.open("ab") as log:
        command = [sys.executable, "-c", HANGING.format(hang=hang), "serve"]
        server.process = subprocess.Popen(
            command, cwd=server.root, env=server.environment, stdout=log, stderr=log, start_new_session=True
        )
    await server.wait_ready()
    event = {"event_id": str(uuid4()), "video_id": video_id, "action": "watch_complete"}
    answer = await viewer.post("/api/v1/events", event)
    assert (viewer.status, answer["accepted"]) == (202, 1)
    if "await" in hang:
        await viewer.eventually("/readyz", lambda body: "engagement.count" in body["checks"])
        metrics = await viewer.get("/metrics")
        assert 'freewill_agent_silent_seconds{agent="engagement.observe"} 0.0' in metrics
    code = await asyncio.to_thread(server.process.wait, ENDS_WITHIN_SECONDS)
    assert code == 1, server.tail()
    assert said in server.log.read_text(errors="replace"), server.tail()

    await server.start()
    await viewer.eventually(f"/api/v1/videos/{video_id}/engagement", lambda body: body["views"] == 1)
