"""Near-duplicate detection: copies are recognized, other captions on the same template are not."""

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_generator import scene
from PIL import Image, ImageDraw, ImageOps
from sploot_server.domain.near_duplicates import (
    BANDS,
    COLOURS_SIDE,
    DHASH_BITS,
    DHASH_SIDE,
    DISTANCE_MAX,
    WORDS_BAND,
    Look,
    bands,
    choose_near_duplicate,
    compute_dhash,
    hamming_distance,
    is_near_duplicate,
)
from template_scenes import draw_scene

dhashes = st.binary(min_size=DHASH_BITS // 8, max_size=DHASH_BITS // 8)
TEXT = "NOT SURE IF TRAP\nor very honest salesman"


def dhash(image: Image.Image) -> bytes:
    grey = image.convert("L")
    horizontal = grey.resize((DHASH_SIDE + 1, DHASH_SIDE), Image.Resampling.BOX).tobytes()
    return compute_dhash(horizontal, grey.resize((DHASH_SIDE, DHASH_SIDE + 1), Image.Resampling.BOX).tobytes())


def look(image: Image.Image, text: str = "") -> Look:
    colours = image.convert("RGB").resize((COLOURS_SIDE, COLOURS_SIDE), Image.Resampling.BOX).tobytes()
    return Look(dhash(image), colours, image.width / image.height, text)


def similar(one: bytes, text: str, other: bytes, other_text: str) -> bool:
    """Compare two images of one shape and colour."""
    return is_near_duplicate(Look(one, b"", 1.0, text), Look(other, b"", 1.0, other_text))


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
        assert set(bands(look(image))) & set(bands(look(copy)))
        assert is_near_duplicate(look(image, TEXT), look(copy, TEXT))


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
    assert not similar(same, TEXT, same, other)
    assert not similar(same, other, same, TEXT)


@pytest.mark.parametrize(
    "other", ["not sure if trap or very honestsalesman", "NOT SURE IF TRAP\nor very honest sa1esman"]
)
def test_ocr_errors_in_long_words_are_tolerated(other: str) -> None:
    same = dhash(drawn(1))
    assert similar(same, TEXT, same, other) == ("1" not in other)


@pytest.mark.parametrize(
    "credit", ["@martamakes", "u/some_one99", "www.memes4u.com", "https://x.co/a1", "funny-pics.net/77"]
)
def test_a_handle_or_an_address_does_not_make_another_meme(credit: str) -> None:
    same = dhash(drawn(1))
    assert similar(same, TEXT, same, f"{TEXT}\n{credit}")
    assert not similar(same, TEXT, same, f"{TEXT.replace('honest', 'hungry')}\n{credit}")


def test_images_without_text_must_be_more_similar() -> None:
    image = drawn(2)
    copy = image.copy()
    ImageDraw.Draw(copy).rectangle((100, 80, 300, 260), fill="white")
    assert is_near_duplicate(look(image), look(image.resize((200, 150))))
    assert not is_near_duplicate(look(image), look(copy))
    assert not similar(dhash(Image.new("RGB", (80, 60), "red")), "", dhash(Image.new("RGB", (80, 60), "blue")), "")


def test_shapes_of_other_colours_and_proportions_are_other_pictures() -> None:
    shapes = []
    for shape, colour in (("ellipse", "red"), ("ellipse", "green"), ("rectangle", "red"), ("rectangle", "blue")):
        image = Image.new("RGB", (200, 200), "white")
        getattr(ImageDraw.Draw(image), shape)((50, 50, 150, 150), fill=colour)
        shapes.append(image)
    shapes += [shapes[0].resize((100, 200)), shapes[0].resize((200, 170))]
    looks = [look(image) for image in shapes]
    pairs = [(one, other) for index, one in enumerate(looks) for other in looks[:index]]
    assert not any(is_near_duplicate(one, other) for one, other in pairs)
    assert all(
        is_near_duplicate(look(image), look(image.resize((image.width * 2, image.height * 2)))) for image in shapes
    )


@pytest.mark.models
@pytest.mark.parametrize("colour", ["white", "black", "teal"])
def test_borders_and_bars_do_not_change_what_is_compared(colour: str) -> None:
    from sploot_server.inference.trim_borders import trim_borders  # noqa: PLC0415 - numpy of an extra

    image = drawn(3)
    framed = ImageOps.expand(image, (12, 60, 20, 5), colour)
    stream = io.BytesIO()
    framed.resize((300, 262)).save(stream, "JPEG", quality=50)
    for copy in (framed, Image.open(stream)):
        assert is_near_duplicate(look(trim_borders(image), TEXT), look(trim_borders(copy), TEXT))
        assert not is_near_duplicate(look(image, TEXT), look(copy, TEXT))
    for untouched in (image, Image.new("RGB", (90, 60), colour), Image.new("RGB", (1, 1), colour)):
        assert trim_borders(untouched).size == untouched.size


@pytest.mark.models
def test_features_decide_when_the_words_match_and_the_dhash_does_not() -> None:
    from sploot_server.inference.picture_features import compute_features  # noqa: PLC0415 - OpenCV of an extra
    from sploot_server.inference.template_index import show_same_picture  # noqa: PLC0415 - numpy of an extra

    image, other = draw_scene(4), draw_scene(5)
    cropped = image.crop((60, 50, image.width - 20, image.height - 30)).reduce(2)
    one, copy, different = (compute_features(each, []) for each in (image, cropped, other))
    row = to_row(look(image, TEXT))
    assert not is_near_duplicate(look(image, TEXT), look(cropped, TEXT))
    assert choose_near_duplicate(look(cropped, f"{TEXT}\n@handle"), [row]) == (None, [row])
    assert show_same_picture(copy, one)
    assert not show_same_picture(different, one)
    assert not show_same_picture(b"", one)
    assert choose_near_duplicate(look(image, TEXT), [row]) == (row, [])
    for words in (TEXT.replace("or very", "nor very"), TEXT.replace("SURE", ""), ""):
        assert choose_near_duplicate(look(cropped, words), [row]) == (None, [])


def to_row(each: Look) -> dict[str, object]:
    return {"dhash": each.dhash, "colours": each.colours, "aspect_ratio": each.aspect_ratio, "text": each.text}


@given(dhashes, dhashes)
def test_similarity_is_symmetric(one: bytes, other: bytes) -> None:
    assert hamming_distance(one, other) == hamming_distance(other, one)
    assert similar(one, TEXT, other, TEXT) == similar(other, TEXT, one, TEXT)
    assert similar(one, TEXT, one, TEXT)


@given(dhashes, dhashes)
def test_bands_together_determine_the_dhash(one: bytes, other: bytes) -> None:
    looks = [Look(each, b"", 1.0, "") for each in (one, other)]
    assert len(set(bands(looks[0]))) == BANDS
    assert (set(bands(looks[0])) == set(bands(looks[1]))) == (one == other)


def test_copies_with_the_same_words_share_a_band_whatever_their_dhashes() -> None:
    looks = [Look(bytes(16), b"", 1.0, TEXT), Look(b"\xff" * 16, b"", 1.0, f"@handle\n{TEXT.lower()}")]
    assert [each for each in bands(looks[0]) if each >= WORDS_BAND] == [max(bands(looks[1]))]
    assert max(bands(Look(bytes(16), b"", 1.0, "@handle"))) < WORDS_BAND
