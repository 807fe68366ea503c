import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scenes import scene
from sploot_server.looks import BANDS, DISTANCE_MAX, LOOK_BITS, SIDE, alike, bands, distance, look_of

looks = st.binary(min_size=LOOK_BITS // 8, max_size=LOOK_BITS // 8)
TEXT = "NOT SURE IF TRAP\nor very honest salesman"


def look(image: Image.Image) -> bytes:
    grey = image.convert("L")
    across = grey.resize((SIDE + 1, SIDE), Image.Resampling.BOX).tobytes()
    return look_of(across, grey.resize((SIDE, SIDE + 1), Image.Resampling.BOX).tobytes())


def drawn(seed: int) -> Image.Image:
    return scene((400, 300), random.Random(seed), grain=6)


@pytest.mark.parametrize("seed", range(6))
def test_copies_look_alike_and_share_a_band(seed: int) -> None:
    image = drawn(seed)
    width, height = image.size
    copies = (
        image.resize((width // 2, height // 2)),
        image.resize((width * 2, height * 2)),
        image.crop((width // 60, height // 60, width - width // 60, height - height // 60)),
        image.point(lambda level: min(255, level * 11 // 10)),
    )
    for copy in copies:
        assert distance(look(image), look(copy)) <= DISTANCE_MAX
        assert set(bands(look(image))) & set(bands(look(copy)))
        assert alike(look(image), TEXT, look(copy), TEXT)


def test_other_pictures_look_different() -> None:
    seen = [look(drawn(seed)) for seed in range(12)]
    apart = [distance(one, other) for place, one in enumerate(seen) for other in seen[:place]]
    assert min(apart) > DISTANCE_MAX


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
    same = look(drawn(1))
    assert not alike(same, TEXT, same, other)
    assert not alike(same, other, same, TEXT)


@pytest.mark.parametrize(
    "other", ["not sure if trap or very honestsalesman", "NOT SURE IF TRAP\nor very honest sa1esman"]
)
def test_what_recognition_makes_of_the_same_words_is_forgiven(other: str) -> None:
    same = look(drawn(1))
    assert alike(same, TEXT, same, other) == ("1" not in other)


def test_pictures_without_words_must_look_more_alike() -> None:
    image = drawn(2)
    copy = image.copy()
    ImageDraw.Draw(copy).rectangle((100, 80, 300, 260), fill="white")
    assert alike(look(image), "", look(image.resize((200, 150))), "")
    assert not alike(look(image), "", look(copy), "")
    red, blue = look(Image.new("RGB", (80, 60), "red")), look(Image.new("RGB", (80, 60), "blue"))
    assert not alike(red, "", blue, "")


@given(looks, looks)
def test_likeness_has_no_direction(one: bytes, other: bytes) -> None:
    assert distance(one, other) == distance(other, one)
    assert alike(one, TEXT, other, TEXT) == alike(other, TEXT, one, TEXT)
    assert alike(one, TEXT, one, TEXT)


@given(looks, looks)
def test_bands_are_stretches_of_the_look(one: bytes, other: bytes) -> None:
    assert len(set(bands(one))) == BANDS
    assert (set(bands(one)) == set(bands(other))) == (one == other)
