"""What is left of a failed encode is kept for a while, wherever it is kept (B10)."""

import os
import uuid

import pytest

from media.partials import KEPT_SECONDS, FilePartials, RedisPartials

LEFT = {"code": "TRANSCODE_ERROR", "files": [{"name": "out/hls/360p/segment_00000.ts", "size_bytes": 7}]}


class Away:
    """Redis while it is away."""

    async def set(self, *arguments, **options):
        raise OSError("refused")

    async def get(self, *arguments):
        raise OSError("refused")


@pytest.fixture(params=["files", "redis", "redis away"])
async def partials(request, tmp_path):
    """Return each way of keeping them."""
    files = FilePartials(tmp_path / "left", lambda: tmp_path.stat().st_mtime + 1)
    if request.param == "files":
        yield files
    elif request.param == "redis away":
        yield RedisPartials(Away(), (OSError,), files)
    else:
        url = os.environ.get("FREEWILL_TEST_REDIS_URL")
        if not url:
            if os.environ.get("CI"):
                pytest.fail("FREEWILL_TEST_REDIS_URL is missing: CI runs the contract on Redis too")
            pytest.skip("no Redis (set FREEWILL_TEST_REDIS_URL; `make services` starts one)")
        from redis.asyncio import Redis

        client = Redis.from_url(url)
        yield RedisPartials(client, (OSError,), files)
        await client.aclose()


async def test_newest_is_found_when_a_job_failed_twice(partials):
    job = str(uuid.uuid4())
    assert await partials.find(job) is None
    await partials.keep(job, {"code": "STORAGE_ERROR"})
    await partials.keep(job, LEFT)
    assert await partials.find(job) == LEFT


async def test_nothing_is_found_when_the_name_is_no_jobs(partials):
    """A name from a request leads out of no folder."""
    for name in ("../../etc/passwd", "", "a/b", "x" * 65):
        assert await partials.find(name) is None


async def test_files_go_when_they_are_old(tmp_path):
    now = [0.0]
    kept = FilePartials(tmp_path, lambda: now[0])
    await kept.keep("old", LEFT)
    now[0] = (tmp_path / "old.json").stat().st_mtime + KEPT_SECONDS + 1
    assert await kept.find("old") is None
    await kept.keep("new", LEFT)
    assert not (tmp_path / "old.json").exists()


async def test_failure_to_keep_is_no_failure_of_the_job(tmp_path):
    (tmp_path / "file").write_text("no folder")
    await FilePartials(tmp_path / "file" / "below", lambda: 0.0).keep("job", LEFT)


async def test_time_to_live_is_given_when_redis_keeps_it():
    class Redis:
        async def set(self, key, value, ex):
            self.said = (key, ex)

    client = Redis()
    await RedisPartials(client, (OSError,), None).keep("j", LEFT)
    assert client.said == ("freewill:media:partial:j", KEPT_SECONDS)
