"""The comparison of store and rows (A41, A43, J22)."""

from hypothesis import given
from hypothesis import strategies as st

from media.layout import federated_source_key, owner, picture_key, source_key, upload_prefix
from media.parts import Incoming
from media.reconcile import GRACE_SECONDS, Known, compare
from media.stores import ObjectInfo

NOW = 1_800_000_000.0
OLD = NOW - GRACE_SECONDS
YOUNG = OLD + 1.0


def at(key: str, modified_at: float = OLD) -> ObjectInfo:
    return ObjectInfo(key, 1, "video/mp4", '"x"', modified_at)


def test_nothing_is_found_when_store_and_rows_agree() -> None:
    keys = [source_key("1", "mp4"), "videos/1/hls/720p/segment_00000.ts", picture_key("1", "small.jpg")]
    known = Known({"1": keys[0], "2": None}, assets=[keys[2]], sessions=["s"])
    findings = compare(map(at, keys), [Incoming("s", "", "", "", OLD)], known, now=NOW)
    assert (findings.delete, findings.abort, findings.missing, findings.strange) == ([], [], [], [])


def test_objects_go_when_their_video_has_no_row() -> None:
    """A41, J22: in both areas, whatever they are."""
    orphans = [source_key("9", "mov"), picture_key("9", "small.jpg"), federated_source_key("9", "mp4")]
    findings = compare(map(at, orphans), [], Known({"1": None}), now=NOW)
    assert findings.delete == orphans


def test_original_goes_when_the_row_names_another_or_none() -> None:
    """A43: the original of a completion that was never recorded."""
    stray, empty, kept = source_key("1", "mov"), source_key("2", "mp4"), source_key("1", "mp4")
    known = Known({"1": kept, "2": None})
    assert compare(map(at, [stray, kept, empty]), [], known, now=NOW).delete == [stray, empty]


def test_nothing_goes_when_it_is_young() -> None:
    """Its row may be in a transaction that has not ended."""
    upload = Incoming("s", "", "", "", YOUNG)
    findings = compare([at(source_key("9", "mp4"), YOUNG)], [upload], Known({}), now=NOW)
    assert (findings.delete, findings.abort) == ([], [])


def test_upload_is_aborted_when_no_session_knows_it() -> None:
    """A41: its parts are left to the abort."""
    lost = Incoming("s", "", "", "", OLD)
    findings = compare([at(f"{upload_prefix('s')}parts/00001")], [lost], Known({}), now=NOW)
    assert (findings.delete, findings.abort, findings.strange) == ([], [lost], [])


def test_key_is_missing_when_a_row_names_it_and_the_store_does_not() -> None:
    known = Known({"1": source_key("1", "mp4")}, assets=["videos/1/hls/master.m3u8"])
    assert compare([], [], known, now=NOW).missing == [source_key("1", "mp4"), "videos/1/hls/master.m3u8"]


def test_strangers_are_reported_when_they_lie_outside_the_layout() -> None:
    assert compare([at("backup.tar")], [], Known({}), now=NOW).strange == ["backup.tar"]


IDS = st.sampled_from(["1", "2", "3"])
KEYS = st.builds("{}/{}/{}".format, st.sampled_from(["videos", "federated"]), IDS, st.sampled_from("ab"))
SOURCES = st.builds(source_key, IDS, st.sampled_from(["mp4", "mov"]))


@given(
    st.dictionaries(KEYS | SOURCES, st.sampled_from([OLD, YOUNG])),
    st.dictionaries(IDS, st.sampled_from(["mp4", "mov", None])),
)
def test_second_comparison_finds_nothing_when_the_first_was_carried_out(
    objects: dict[str, float], rows: dict[str, str | None]
) -> None:
    """Deleting is enough and never too much: what rows own or what is young stays."""
    known = Known({video: ext and source_key(video, ext) for video, ext in rows.items()})
    gone = set(compare([at(*each) for each in objects.items()], [], known, now=NOW).delete)
    left = [at(key, when) for key, when in objects.items() if key not in gone]
    assert compare(left, [], known, now=NOW).delete == []
    assert not gone & set(filter(None, known.sources.values()))
    assert all(objects[key] == OLD for key in gone)
    assert all(info.modified_at == YOUNG or owner(info.key) in rows for info in left)
