"""The image service (B38, H15): rows, objects and the outbox stay in step, whatever fails in between."""

import json

import pytest
from PIL import Image

from media.images import Rendered, Variant
from media.scanner import NoScanner, ScannerUnavailable
from media.stores import FileStore
from social.graph import Graph
from social.images import ImageService, ImageTools, NewImage
from social.images.objects import GRACE_SECONDS
from social.images.service import LOST_SECONDS, MAX_ASKED
from social.leaving import Leaving
from social.views import Principal
from tables.errors import ContentNotFound, InfectedFile, StorageFailure, UserNotFound
from tables.relational.models import ImageRow, ImageVariantRow, ObjectRemovalRow


class Store(FileStore):
    """A folder that can be told to fail."""

    broken = False

    async def put_file(self, key, path, **options):
        await super().put_file(key, path, **options)
        if self.broken:
            raise OSError("the disk is gone")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "objects")


@pytest.fixture
def images(world, store):
    return ImageService(ImageTools(world.database, store, NoScanner(), world.clock))


@pytest.fixture
def upload(tmp_path):
    def make(**said):
        path = tmp_path / "upload"
        Image.new("RGB", (8, 6), (1, 2, 3)).save(path, "PNG")
        return NewImage(path, **said)

    return make


def rendered(image_id):
    key = f"images/{image_id}/small.jpg"
    return Rendered(8, 6, "LEHV6nWB", "#010203", (Variant("small", key, "image/jpeg", 8, 6, 99),))


async def keys(store):
    return [info.key async for info in store.list("images/")]


async def sent(world, topic):
    return [json.loads(row.payload) for row in await world.outbox(topic)]


async def test_upload_is_a_pending_row_an_object_and_a_job(world, images, store, upload):
    ada = await world.user("ada")
    image = await images.create(ada, upload(alt_text="text"))
    assert (image.status, image.alt_text, image.variants) == ("PENDING", "text", ())
    assert await keys(store) == [f"images/{image.id}/source.png"]
    assert [job["image_id"] for job in await sent(world, "media.images")] == [image.id]
    assert await images.upload_of(image.id) == f"images/{image.id}/source.png"
    assert await world.rows(ObjectRemovalRow) == []


async def test_first_outcome_counts_when_several_come(world, images, store, upload):
    ada = await world.user("ada")
    image = await images.create(ada, upload())
    await store.put_bytes(f"images/{image.id}/small.jpg", b"x", content_type="image/jpeg")
    assert await images.finish(image.id, rendered(image.id))
    assert not await images.finish(image.id, rendered(image.id))
    assert not await images.fail(image.id, "CORRUPTED_FILE", "late")
    ready = await images.get(image.id, ada)
    assert (ready.status, ready.width, ready.placeholder, ready.colour) == ("READY", 8, "LEHV6nWB", "#010203")
    assert ready.variants == rendered(image.id).variants
    assert await images.upload_of(image.id) is None
    assert await keys(store) == [f"images/{image.id}/small.jpg"]  # the upload says where it was taken: gone
    notes = await sent(world, "notifications")
    assert [(note["event"], note["data"]["status"]) for note in notes] == [("image_status", "READY")]


async def test_failure_has_code_and_reason(world, images, store, upload):
    ada = await world.user("ada")
    image = await images.create(ada, upload())
    assert await images.fail(image.id, "CORRUPTED_FILE", "It is damaged.")
    failed = await images.get(image.id, ada)
    assert (failed.status, failed.fail_code, failed.fail_reason) == (
        "FAILED",
        "CORRUPTED_FILE",
        "It is damaged.",
    )
    assert await keys(store) == []


async def test_nothing_is_left_when_storing_or_committing_fails(world, images, store, upload):
    ada = await world.user("ada")
    store.broken = True
    with pytest.raises(StorageFailure):
        await images.create(ada, upload())
    store.broken = False
    with pytest.raises(UserNotFound):
        await images.create(Principal("00000000-0000-4000-8000-000000000000", "x", "user", ""), upload())
    assert (await keys(store), await world.rows(ImageRow)) == ([], [])
    assert await images.objects.sweep(everything=True) == 2
    assert await world.rows(ObjectRemovalRow) == []


async def test_infected_upload_is_refused_and_an_unknown_one_taken(world, store, upload):
    class Scanner:
        answer = "Eicar"

        async def scan(self, path):
            if self.answer is None:
                raise ScannerUnavailable
            return self.answer

    ada, scanner = await world.user("ada"), Scanner()
    images = ImageService(ImageTools(world.database, store, scanner, world.clock))
    with pytest.raises(InfectedFile):
        await images.create(ada, upload())
    scanner.answer = None
    assert (await images.create(ada, upload())).status == "PENDING"


async def test_outputs_go_when_the_image_was_deleted_meanwhile(world, images, store, upload):
    ada = await world.user("ada")
    image = await images.create(ada, upload())
    await images.delete(image.id, ada)
    await store.put_bytes(f"images/{image.id}/small.jpg", b"x", content_type="image/jpeg")
    assert not await images.finish(image.id, rendered(image.id))
    assert await keys(store) == []
    with pytest.raises(ContentNotFound):
        await images.delete(image.id, ada)
    assert await images.objects.sweep() == 0
    world.clock.now += GRACE_SECONDS + 1
    assert await images.objects.sweep() == 1
    assert await world.rows(ImageVariantRow) == []


async def test_lost_job_is_asked_for_again_and_fails_in_the_end(world, images, upload):
    ada = await world.user("ada")
    image = await images.create(ada, upload())
    assert await images.rescue() == 0
    for _ in range(MAX_ASKED):
        world.clock.now += LOST_SECONDS + 1
        assert await images.rescue() == 1
    assert len(await sent(world, "media.images")) == MAX_ASKED
    assert (await images.get(image.id, ada)).status == "FAILED"
    world.clock.now += LOST_SECONDS + 1
    assert await images.rescue() == 0


async def test_comparison_removes_what_no_row_names_and_tells_of_what_is_missing(
    world, images, store, upload
):
    ada = await world.user("ada")
    waiting, ready = await images.create(ada, upload()), await images.create(ada, upload())
    await images.finish(ready.id, rendered(ready.id))  # its only variant is not in the store
    for lost in ("images/0/small.jpg", f"images/{waiting.id}/large.webp"):
        await store.put_bytes(lost, b"x", content_type="")
    world.clock.now = 4e9  # the files are older than any grace
    dry = await images.objects.reconcile(dry_run=True)
    done = await images.objects.reconcile()
    assert [(f.what, f.subject) for f in dry] == [(f.what, f.subject) for f in done]
    assert {(f.what, f.subject) for f in done} == {
        ("delete", "images/0/small.jpg"),
        ("delete", f"images/{waiting.id}/large.webp"),
        ("missing", f"images/{ready.id}/small.jpg"),
    }
    assert await keys(store) == [f"images/{waiting.id}/source.png"]


async def test_images_go_with_their_owner(world, images, store, upload):
    ada, bob = await world.user("ada"), await world.user("bob")
    for _ in range(2):
        await images.create(ada, upload())
    kept = await images.create(bob, upload())
    graph = Graph(world.database, world.clock)
    leaving = Leaving(world.database, world.videos, world.interactions, graph, images, world.clock)
    await leaving.delete(ada.user_id)
    assert await keys(store) == [f"images/{kept.id}/source.png"]
    assert [row.id for row in await world.rows(ImageRow)] == [kept.id]


async def test_sweep_of_videos_leaves_the_notes_of_images(world, images, upload):
    ada = await world.user("ada")
    image = await images.create(ada, upload())
    await images.delete(image.id, ada)
    await world.videos.sweep_objects(everything=True)
    assert [row.prefix for row in await world.rows(ObjectRemovalRow)] == [f"images/{image.id}/"]
