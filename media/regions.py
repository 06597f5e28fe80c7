"""The region of an address: by a list of networks, or by a MaxMind database (C36)."""

import json
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

RegionOf = Callable[[str], str | None]
"""Returns the region of an address as ISO 3166 letters (``DE``, ``US-CA``); None when nobody knows."""

MAXMIND_SUFFIX = ".mmdb"


def nowhere(address: str) -> str | None:
    """Be the ``RegionOf`` of a server that was told nothing of regions: nobody is kept out."""
    return None


def region_lookup(path: Path | None) -> RegionOf:
    """Return the look-up of a file: MaxMind's format by its ending, else JSON ``{"10.0.0.0/8": "DE"}``.

    Raises:
        ValueError: it is neither.
        OSError: it cannot be read.
        ImportError: a MaxMind database needs the extra ``geo``.
    """
    if path is None:
        return nowhere
    if path.suffix == MAXMIND_SUFFIX:
        return _maxmind(path)
    listed = json.loads(path.read_text("utf-8"))
    if not isinstance(listed, dict):
        raise ValueError(f"{path} has to be a JSON object of networks and regions")
    return NetworkList(listed)


def blocked(region: str | None, regions: frozenset[str]) -> bool:
    """Say whether a region is one of those listed, or a part of one.

    >>> [blocked(region, frozenset({"US"})) for region in ("US-CA", "DE", None)]
    [True, False, False]
    """
    return region is not None and (region in regions or region.partition("-")[0] in regions)


class NetworkList:
    """A list of networks; the longest prefix wins."""

    def __init__(self, regions: Mapping[str, str]) -> None:
        """Take networks in CIDR form and their regions; ValueError for what is no network."""
        self._by_network: dict[IPv4Network | IPv6Network, str] = {
            ip_network(network): str(region).upper() for network, region in regions.items()
        }
        lengths = {(network.version, network.prefixlen) for network in self._by_network}
        self._lengths = sorted(lengths, reverse=True)

    def __call__(self, address: str) -> str | None:
        """Return the region of an address.

        >>> NetworkList({"10.0.0.0/8": "de", "10.1.0.0/16": "fr"})("10.1.2.3")
        'FR'
        """
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return None
        if isinstance(found, IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        for version, length in self._lengths:
            if version == found.version:
                region = self._by_network.get(ip_network(f"{found}/{length}", strict=False))
                if region is not None:
                    return region
        return None


def _maxmind(path: Path) -> RegionOf:
    import maxminddb  # only servers with such a database need it

    reader = maxminddb.open_database(path)

    def find(address: str) -> str | None:
        try:
            entry: Any = reader.get(address.partition("%")[0])
        except ValueError:
            return None
        country = entry.get("country", {}).get("iso_code") if isinstance(entry, dict) else None
        if country is None:
            return None
        parts = entry.get("subdivisions") or [{}]
        part = parts[0].get("iso_code")
        return f"{country}-{part}" if part else str(country)

    return find
