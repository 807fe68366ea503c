"""The properties of the generated test data on which other tests rely."""

import os
import random
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import captions
import memes
import pytest
from PIL import Image, ImageFile, ImageSequence

EXAMPLES = Path(__file__).parents[1] / "examples" / "memes"
KB, MB = 1_000, 1_000_000
EACH_FORMAT = ("jpeg", "png", "webp", "gif")
STOP_WORDS = """
a about after again all am an and any are as at be been before being but by can could did do does down ever for from
had has have he her here him his how i if in into is it its just like many me more most much my never no nor not now of
off on one or our out over own per s said says she so some still t than that the their them then there these they this
those to too until up very was we were what when where which while who will with without would you your
"""


def contents(made: list[memes.Meme]) -> list[bytes]:
    return [meme.path.read_bytes() for meme in made]


def test_the_same_seed_gives_the_same_memes(tmp_path: Path) -> None:
    first, second = memes.make(tmp_path / "a", count=8, seed=3), memes.make(tmp_path / "b", count=8, seed=3)
    assert contents(first) == contents(second)
    assert [meme.caption for meme in first] == [meme.caption for meme in second]


def test_a_larger_count_does_not_change_the_first_memes(tmp_path: Path) -> None:
    few, many = memes.make(tmp_path / "a", count=3), memes.make(tmp_path / "b", count=6)
    assert contents(few) == contents(many)[:3]


def test_memes_of_several_seeds_share_a_folder_and_no_bytes(tmp_path: Path) -> None:
    made = [meme for seed in range(3) for meme in memes.make(tmp_path, count=16, seed=seed)]
    assert len({meme.path for meme in made}) == len(list(tmp_path.iterdir())) == 48
    assert len(set(contents(made))) == 48


def test_captions_stay_different_far_beyond_the_corpus() -> None:
    count = 20 * len(captions.corpus())
    assert len({captions.caption(index, seed=1).text for index in range(count)}) == count


def test_no_half_of_a_caption_occurs_twice() -> None:
    """Halves are recombined, so two captions with a common half could become equal."""
    for halves in zip(*((caption.top, caption.bottom) for caption in captions.corpus()), strict=True):
        assert [half for half, count in Counter(half.casefold() for half in halves).items() if count > 1] == []


def test_every_file_has_its_format(tmp_path: Path) -> None:
    for meme in memes.make(tmp_path, count=8):
        with Image.open(meme.path) as image:
            image.load()
            assert (image.format or "").lower() == meme.format
            assert meme.path.suffix == {"jpeg": ".jpg"}.get(meme.format, f".{meme.format}")


def test_gifs_are_animated(tmp_path: Path) -> None:
    for meme in memes.make(tmp_path, count=4, formats=("gif",)):
        with Image.open(meme.path) as image:
            frames = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(image)]
        assert 3 <= len(frames) <= 6
        assert len(set(frames)) > 1


@pytest.mark.parametrize(
    ("sizes", "count", "least_bytes", "most_bytes"),
    [("small", 32, 10 * KB, 60 * KB), ("mixed", 16, 20 * KB, 2 * MB), ("large", 4, MB // 2, 9 * MB)],
)
def test_files_have_the_requested_size(
    tmp_path: Path, sizes: str, count: int, least_bytes: int, most_bytes: int
) -> None:
    made = memes.make(tmp_path, count=count, sizes=sizes, formats=EACH_FORMAT)
    assert [meme for meme in made if not least_bytes <= meme.path.stat().st_size <= most_bytes] == []


def test_the_corpus_is_large_and_multilingual() -> None:
    languages = Counter(caption.language for caption in captions.corpus())
    assert languages["en"] >= 220
    assert {"de", "es", "fr"} < languages.keys()
    assert languages.total() - languages["en"] >= 15
    assert sum(caption.paraphrase is not None for caption in captions.corpus()) >= 80


def test_a_paraphrase_shares_no_content_word_with_its_caption() -> None:
    for caption in (*captions.corpus(), *captions.corpus(captions.HELD_OUT)):
        for query in (caption.paraphrase, caption.foreign):
            assert content_words(caption.text) & content_words(query or "") == set(), caption


def test_held_out_captions_are_not_in_the_corpus() -> None:
    known = {half.casefold() for caption in captions.corpus() for half in (caption.top, caption.bottom)}
    held_out = captions.corpus(captions.HELD_OUT)
    assert not known & {half.casefold() for caption in held_out for half in (caption.top, caption.bottom)}
    assert sum(caption.paraphrase is not None for caption in held_out) >= 80
    assert sum(caption.foreign is not None for caption in held_out) >= 30


def content_words(text: str) -> set[str]:
    """Return the words without stop words and English endings."""
    words = set(re.findall(r"\w+", text.casefold())) - set(STOP_WORDS.split())
    return {re.sub(r"(ing|ed|es|s)$", "", word) for word in words}


def test_a_typo_misspells_exactly_one_word() -> None:
    rng = random.Random(1)
    for caption in captions.corpus():
        before, after = caption.text.split(), memes.typo(caption.text, rng).split()
        assert len(before) == len(after)
        assert sum(was != word for was, word in zip(before, after, strict=True)) == 1


def test_a_text_of_short_words_has_no_typo() -> None:
    assert memes.typo("I am at sea", random.Random(1)) == "I am at sea"


def test_a_partial_query_is_a_shorter_run_of_the_caption() -> None:
    rng = random.Random(1)
    for caption in captions.corpus():
        query = memes.partial(caption.text, rng)
        assert f" {query} " in f" {caption.text} "
        assert 2 <= len(query.split()) < len(caption.text.split())
    assert memes.partial("one", rng) == "one"


def test_queries_depend_only_on_the_random_state() -> None:
    text = captions.caption(0, seed=0).text
    assert memes.typo(text, random.Random(5)) == memes.typo(text, random.Random(5))
    assert memes.partial(text, random.Random(5)) == memes.partial(text, random.Random(5))


def test_glued_removes_every_second_space() -> None:
    assert memes.glued("this could have been an email now") == "thiscould havebeen anemail now"


@pytest.mark.parametrize("size_bytes", [4_000, 65_537, 70_000, 131_074, 500_000])
def test_a_mass_is_of_valid_and_different_images_of_one_size(tmp_path: Path, size_bytes: int) -> None:
    paths = memes.mass(tmp_path, 20, size_bytes, seed=2)
    files = [path.read_bytes() for path in paths]
    assert {len(file) for file in files} == {size_bytes}
    assert len(set(files)) == 20
    with Image.open(paths[-1]) as image:
        image.load()


def test_masses_of_two_seeds_have_no_file_in_common(tmp_path: Path) -> None:
    paths = memes.mass(tmp_path, 10, 4_000, seed=1) + memes.mass(tmp_path, 10, 4_000, seed=2)
    assert len({path.read_bytes() for path in paths}) == 20


def test_a_mass_too_small_for_its_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no room"):
        memes.mass(tmp_path, 1, 500)


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[dict[str, Path]]:
    made = memes.odd(tmp_path)
    yield made
    if "unreadable_folder" in made:
        made["unreadable_folder"].chmod(0o700)


def test_odd_files_are_of_their_kind(tmp_path: Path, odd: dict[str, Path]) -> None:
    modes = {kind: stat.S_IFMT(path.lstat().st_mode) for kind, path in odd.items()}
    assert (modes["fifo"], modes["socket"]) == (stat.S_IFIFO, stat.S_IFSOCK)
    assert modes["broken_link"] == modes["link_loop"] == modes["folder_loop"] == stat.S_IFLNK
    assert not odd["broken_link"].exists()
    assert odd["folder_loop"].resolve() == tmp_path.resolve()
    with pytest.raises(OSError, match="symbolic link"):
        odd["link_loop"].stat()
    assert odd["empty"].stat().st_size == 0
    assert odd["over_limit"].stat().st_size == 10 * 1024 * 1024 + 1
    assert "\n" in odd["newline"].name
    assert set(tmp_path.iterdir()) == set(odd.values())


def test_files_with_odd_names_are_valid_images_and_those_with_odd_contents_are_not(
    odd: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)  # the image worker's code sets it on import
    for kind in {"hidden", "newline", "non_utf8"} & odd.keys():
        with Image.open(odd[kind]) as image:
            image.load()
    for kind in ("empty", "text", "truncated", "partial_download", "heic", "avif", "mp4"):
        with pytest.raises((OSError, ValueError)), Image.open(odd[kind]) as image:
            image.load()


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS accepts only UTF-8 names")
def test_a_name_need_not_be_utf8(odd: dict[str, Path]) -> None:
    with pytest.raises(UnicodeDecodeError):
        os.fsencode(odd["non_utf8"].name).decode()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_cannot_be_read(odd: dict[str, Path]) -> None:
    with pytest.raises(PermissionError):
        odd["unreadable"].read_bytes()
    with pytest.raises(PermissionError):
        next(odd["unreadable_folder"].iterdir())


def test_the_program_lists_what_it_drew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memes.main([str(tmp_path), "--count", "2", "--seed", "9"])
    listed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert listed == [[meme.path.name, meme.caption] for meme in memes.make(tmp_path, count=2, seed=9)]


def test_the_examples_are_two_dozen_small_images() -> None:
    images = [path for path in EXAMPLES.iterdir() if path.name != "README.md"]
    assert len(images) == 24
    assert sum(path.stat().st_size for path in images) < 1.5 * MB
    for path in images:
        with Image.open(path) as image:
            image.load()


def test_the_examples_match_their_readme_and_its_command() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| (\S+\.\w+) \| (.+) \|$", readme, re.MULTILINE)
    command = re.search(r"--count (\d+) --seed (\d+)", readme)
    assert command is not None
    count, seed = map(int, command.groups())
    assert sorted(name for name, _ in listed) == sorted(
        path.name for path in EXAMPLES.iterdir() if path.suffix != ".md"
    )
    assert [caption for _, caption in listed] == [captions.caption(index, seed).text for index in range(count)]
