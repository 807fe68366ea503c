"""Near-duplicate detection: copies are recognized, other captions on the same template are not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_generator import scene
from PIL import Image, ImageDraw
from sploot_server.domain.near_duplicates import (
    BANDS,
    DHASH_BITS,
    DHASH_SIDE,
    DISTANCE_MAX,
    bands,
    compute_dhash,
    hamming_distance,
    is_near_duplicate,
)

dhashes = st.binary(min_size=DHASH_BITS // 8, max_size=DHASH_BITS // 8)
TEXT = "NOT SURE IF TRAP\nor very honest salesman"


def dhash(image: Image.Image) -> bytes:
    grey = image.convert("L")
    horizontal = grey.resize((DHASH_SIDE + 1, DHASH_SIDE), Image.Resampling.BOX).tobytes()
    return compute_dhash(horizontal, grey.resize((DHASH_SIDE, DHASH_SIDE + 1), Image.Resampling.BOX).tobytes())


def drawn(seed: int) -> Image.Image:
    return scene((400, 300), random.Random(seed), grain=6)


@pytest.mark.parametrize("seed", range(6))
def test_copies_are_near_duplicates_and_share_a_band(seed: int) -> None:
    image = drawn(seed)
    width, height = image.size
    copies = (
        image.resize((width // 2, height // 2)),
        image.resize((width * 2, height * 2)),
        image.crop((width // 60, height // 60, width - width // 60, height - height // 60)),
        image.point(lambda level: min(255, level * 11 // 10)),
    )
    for copy in copies:
        assert hamming_distance(dhash(image), dhash(copy)) <= DISTANCE_MAX
        assert set(bands(dhash(image))) & set(bands(dhash(copy)))
        assert is_near_duplicate(dhash(image), TEXT, dhash(copy), TEXT)


def test_dhashes_of_different_images_are_distant() -> None:
    hashes = [dhash(drawn(seed)) for seed in range(12)]
    distances = [hamming_distance(one, other) for index, one in enumerate(hashes) for other in hashes[:index]]
    assert min(distances) > DISTANCE_MAX


@pytest.mark.parametrize(
    "other",
    [
        "NOT SURE IF TRAP\nor very honest lawyer",
        "NOT SURE IF TRAP",
        "NOT SURE IF TRAP\nor very honest salesman 2",
        "NOT SURE IF TRIP\nor very honest salesman",
        "",
    ],
)
def test_other_words_on_the_same_template_are_another_meme(other: str) -> None:
    same = dhash(drawn(1))
    assert not is_near_duplicate(same, TEXT, same, other)
    assert not is_near_duplicate(same, other, same, TEXT)


@pytest.mark.parametrize(
    "other", ["not sure if trap or very honestsalesman", "NOT SURE IF TRAP\nor very honest sa1esman"]
)
def test_ocr_errors_in_long_words_are_tolerated(other: str) -> None:
    same = dhash(drawn(1))
    assert is_near_duplicate(same, TEXT, same, other) == ("1" not in other)


def test_images_without_text_must_be_more_similar() -> None:
    image = drawn(2)
    copy = image.copy()
    ImageDraw.Draw(copy).rectangle((100, 80, 300, 260), fill="white")
    assert is_near_duplicate(dhash(image), "", dhash(image.resize((200, 150))), "")
    assert not is_near_duplicate(dhash(image), "", dhash(copy), "")
    red, blue = dhash(Image.new("RGB", (80, 60), "red")), dhash(Image.new("RGB", (80, 60), "blue"))
    assert not is_near_duplicate(red, "", blue, "")


@given(dhashes, dhashes)
def test_similarity_is_symmetric(one: bytes, other: bytes) -> None:
    assert hamming_distance(one, other) == hamming_distance(other, one)
    assert is_near_duplicate(one, TEXT, other, TEXT) == is_near_duplicate(other, TEXT, one, TEXT)
    assert is_near_duplicate(one, TEXT, one, TEXT)


@given(dhashes, dhashes)
def test_bands_together_determine_the_dhash(one: bytes, other: bytes) -> None:
    assert len(set(bands(one))) == BANDS
    assert (set(bands(one)) == set(bands(other))) == (one == other)
