"""Items: shards, priorities and states."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.item import SHARDS, Priority, State, shard_for

COUNT = 10_000
CHI_SQUARE_MAX = 60.0  # 15 degrees of freedom: chance alone passes it once in five million times

# File names as created by cameras, phones, browsers and messengers.
NAMES = {
    "camera": [b"/home/ana/Pictures/2024/IMG_%04d.JPG" % n for n in range(COUNT)],
    "phone": [
        b"/home/ana/memes/IMG_202411%02d_%02d%02d%02d.jpg" % (n % 30, n // 3600, n // 60 % 60, n % 60)
        for n in range(COUNT)
    ],
    "messenger": [b"/sdcard/Images/IMG-202411%02d-WA%04d.jpg" % (n // 400, n % 400) for n in range(COUNT)],
    "browser": [b"/home/ana/Downloads/download (%d).png" % n for n in range(COUNT)],
    "folders": [b"/mnt/memes/%02d/%02d.webp" % divmod(n, 100) for n in range(COUNT)],
}


def share_of_each(paths: Sequence[bytes]) -> list[float]:
    """Return the fill level of each shard, relative to an even distribution."""
    counts = Counter(map(shard_for, paths))
    return [counts[shard] * SHARDS / len(paths) for shard in range(SHARDS)]


@pytest.mark.parametrize("kind", NAMES)
def test_ten_thousand_numbered_names_spread_within_ten_percent(kind: str) -> None:
    assert len(set(NAMES[kind])) == COUNT
    assert all(0.9 <= share <= 1.1 for share in share_of_each(NAMES[kind]))


def test_the_names_on_this_machine_spread_as_evenly_as_chance_allows() -> None:
    """The names vary between machines, and random shards occasionally differ by 10 %, so this is a chi-square test."""
    paths = list(itertools.islice(files_in("/usr"), COUNT))
    if len(paths) < COUNT:
        pytest.skip("too few files in /usr")
    fair = len(paths) / SHARDS
    assert sum((share * fair - fair) ** 2 / fair for share in share_of_each(paths)) < CHI_SQUARE_MAX


def files_in(top: str) -> Iterator[bytes]:
    for folder, folders, files in os.walk(os.fsencode(top)):
        folders.sort()
        yield from (folder + b"/" + name for name in sorted(files))


@given(st.binary())
def test_every_path_has_a_shard(path: bytes) -> None:
    assert 0 <= shard_for(path) < SHARDS


@pytest.mark.parametrize(
    ("path", "shard"), [(b"", 0), (b"/a.png", 2), (b"/home/ana/memes/cat.jpg", 10), (b"/caf\xe9\n.png", 4)]
)
def test_a_shard_never_changes(path: bytes, shard: int) -> None:
    """Rows keep their shard, so a path must have the same shard on every machine and in every version."""
    assert shard_for(path) == shard


def test_urgent_precedes_normal_and_background() -> None:
    assert Priority.URGENT < Priority.NORMAL < Priority.BACKGROUND


@pytest.mark.parametrize("priority", Priority)
def test_a_priority_is_parsed_from_its_label(priority: Priority) -> None:
    assert Priority.from_label(priority.label) is priority


def test_there_are_seven_states() -> None:
    assert [state.value for state in State] == [
        *("pending", "uploading", "embedding", "ready", "failed", "missing", "skipped"),
    ]
