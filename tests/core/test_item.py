import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.item import SHARDS, Priority, State, shard_of

COUNT = 10_000
CHI_SQUARE_MAX = 60.0  # 15 degrees of freedom: chance alone passes it once in five million times

# Names as they come from cameras, phones, browsers and messengers.
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
    """How full each shard is, 1.0 being its fair share."""
    counts = Counter(map(shard_of, paths))
    return [counts[shard] * SHARDS / len(paths) for shard in range(SHARDS)]


@pytest.mark.parametrize("kind", NAMES)
def test_ten_thousand_counted_names_spread_within_ten_percent(kind: str) -> None:
    assert len(set(NAMES[kind])) == COUNT
    assert all(0.9 <= share <= 1.1 for share in share_of_each(NAMES[kind]))


def test_the_names_on_this_machine_spread_as_evenly_as_chance_allows() -> None:
    """Which names those are is chance, and a shard's share of 10,000 chances strays by a tenth now and then."""
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
    assert 0 <= shard_of(path) < SHARDS


@pytest.mark.parametrize(
    ("path", "shard"), [(b"", 0), (b"/a.png", 2), (b"/home/ana/memes/cat.jpg", 10), (b"/caf\xe9\n.png", 4)]
)
def test_a_shard_is_the_same_on_every_machine_for_ever(path: bytes, shard: int) -> None:
    """Rows keep their shard; a path that comes back must find the same lane."""
    assert shard_of(path) == shard


def test_a_smaller_priority_is_sooner() -> None:
    assert Priority.URGENT < Priority.NORMAL < Priority.BACKGROUND


@pytest.mark.parametrize("priority", Priority)
def test_a_priority_is_found_by_its_word(priority: Priority) -> None:
    assert Priority.of(priority.word) is priority


def test_there_are_seven_states() -> None:
    assert [state.value for state in State] == [
        *("pending", "uploading", "embedding", "ready", "dead", "gone", "skipped"),
    ]
