"""Choosing a host, a region, a rung (C28-C30, C32, C36, C46, C47)."""

import json
import xml.etree.ElementTree as ET
from fractions import Fraction
from pathlib import Path

import m3u8
import pytest

from media import mpd, playlists
from media.hosts import DeliveryHosts
from media.manifests import Device, dash_for, device_of, hls_for, recommend, variants_of
from media.regions import region_lookup

AGENTS = {
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1": Device.IOS,
    "AppleCoreMedia/1.0.0.22B91 (iPad; U; CPU OS 18_1 like Mac OS X)": Device.IOS,
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/130 Mobile Safari": Device.ANDROID,
    "ExoPlayerDemo/2.19 (Linux;Android 14) ExoPlayerLib/2.19": Device.ANDROID,
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130 Safari/537.36": Device.WEB,
    "curl/8.5": Device.WEB,
    "": Device.WEB,
}


def master(*rungs: int) -> str:
    return playlists.master_playlist(
        [
            playlists.Variant(
                f"{lines}p/playlist.m3u8",
                lines * 2500,
                lines * 2000,
                lines * 16 // 9,
                lines,
                "avc1.64",
                Fraction(30),
            )
            for lines in rungs
        ]
    )


@pytest.mark.parametrize(("agent", "device"), AGENTS.items())
def test_device_is_known_by_its_agent(agent: str, device: Device) -> None:
    assert device_of(agent) is device


def test_phones_start_under_the_cap_and_are_offered_every_rung() -> None:
    """C28, C46, C47: read by a stranger's parser; addresses are absolute and signed."""
    variants = variants_of(master(1080, 720, 480, 360))
    advice = recommend(Device.ANDROID, variants)
    assert (advice.start_quality, advice.peak_bandwidth) == ("480p", 1_500_000)
    read = m3u8.loads(hls_for(variants, advice, "https://cdn/media/T/videos/7/hls/"))
    assert [each.uri.split("/")[-2] for each in read.playlists] == ["480p", "1080p", "720p", "360p"]
    assert all(each.uri.startswith("https://cdn/media/T/videos/7/hls/") for each in read.playlists)
    assert {each.data_id: each.value for each in read.session_data}[
        "org.freewill.peak-bandwidth"
    ] == "1500000"


def test_captions_and_storyboard_stay_in_the_manifests_of_devices() -> None:
    """C28, Y6: a rung that names a group without the group would not play at all."""
    tiles = playlists.Tiles("storyboard.m3u8", 160, 90, 5, 5, 2.0, 30_000)
    rung = playlists.Variant("360p/playlist.m3u8", 800_000, 1, 640, 360, "avc1.64", Fraction(30))
    captions = [playlists.Subtitle("captions/de-ts.m3u8", "de", "Deutsch")]
    stored = playlists.with_subtitles(playlists.master_playlist([rung], None, None, tiles), captions)
    variants = variants_of(stored)
    read = m3u8.loads(hls_for(variants, recommend(Device.IOS, variants), "https://cdn/T/hls/"))
    assert [(each.type, each.uri) for each in read.media] == [
        ("SUBTITLES", "https://cdn/T/hls/captions/de-ts.m3u8")
    ]
    assert read.playlists[0].stream_info.subtitles == "captions"
    assert read.image_playlists[0].uri == "https://cdn/T/hls/storyboard.m3u8"


def test_web_starts_as_the_playlist_says_and_phones_play_when_all_is_above_the_cap() -> None:
    variants = variants_of(master(1080, 720))
    assert recommend(Device.WEB, variants).start_quality == variants[0].quality == "1080p"
    low = recommend(Device.IOS, variants)
    assert (low.start_quality, low.peak_bandwidth) == ("720p", 1_800_000)


@pytest.mark.parametrize("text", ["", "#EXTM3U\n", '#EXTM3U\n#EXT-X-STREAM-INF:CODECS="a"\nx\n', "<html>"])
def test_manifest_is_refused_when_the_stored_one_is_damaged(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        variants_of(text)
    with pytest.raises(ValueError, match=r"."):
        dash_for(text, recommend(Device.WEB, variants_of(master(480))), "x/")


def test_dash_names_the_delivery_host_and_the_rates() -> None:
    """C29, ISO 23009-1: BaseURL and ServiceDescription stand before the first Period."""
    tracks = [mpd.Track("480p.mp4", 1_000_000, "avc1", (0, 9), (10, 19), 854, 480)]
    stored = mpd.manifest(tracks, None, seconds=4.0, rate=Fraction(30), offset=0.0)
    advice = recommend(Device.IOS, variants_of(master(720, 480)))
    root = ET.fromstring(dash_for(stored, advice, "https://cdn/a&b/"))
    names = [child.tag.partition("}")[2] for child in root]
    assert names == ["BaseURL", "ServiceDescription", "Period"]
    assert root[0].text == "https://cdn/a&b/"
    assert root[1][0].attrib == {"mediaType": "video", "max": "1500000", "target": "1200000"}


def test_backup_then_origin_deliver_when_hosts_fail_and_the_primary_when_it_is_back() -> None:
    """C32: three failures open a circuit, two successes close it."""
    hosts = DeliveryHosts(["https://one/", "https://two"], "http://origin")
    one, two = hosts.circuits.values()
    assert hosts.best() == "https://one"
    assert [one.note(False) for _ in range(3)] == [False, False, True]
    assert (hosts.best(), hosts.all()) == ("https://two", ("https://two", "https://one", "http://origin"))
    for _ in range(3):
        two.note(False)
    assert hosts.best() == "http://origin"
    assert [one.note(True), one.note(False), one.note(True), one.note(True)] == [False, False, False, True]
    assert hosts.best() == "https://one"


def test_region_is_the_longest_network_that_holds_the_address(tmp_path: Path) -> None:
    """C36."""
    path = tmp_path / "regions.json"
    path.write_text(json.dumps({"10.0.0.0/8": "DE", "10.9.0.0/16": "us-ca", "2001:db8::/32": "FR"}))
    find = region_lookup(path)
    known = {"10.1.2.3": "DE", "10.9.1.1": "US-CA", "2001:db8::7": "FR", "::ffff:10.1.1.1": "DE"}
    assert {address: find(address) for address in known} == known
    assert [find(address) for address in ("192.0.2.1", "fe80::1%eth0", "unknown", "")] == [None] * 4


def test_region_file_is_refused_when_it_is_none(tmp_path: Path) -> None:
    path = tmp_path / "regions.json"
    for text in ("[]", '{"10.0.0.1/8": "DE"}', "{"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"."):
            region_lookup(path)
