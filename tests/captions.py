"""Captions for memes, and the queries by which people search for them.

`captions.txt` contains one caption per line. A caption has two halves, because the classic meme has a line of text
above its subject and one below.
"""

import functools
import random
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).with_name("captions.txt")
HELD_OUT = Path(__file__).with_name("captions_held_out.txt")
OTHERS = Path(__file__).with_name("captions_others.txt")
TYPO_LETTERS_MIN = 4


@dataclass(frozen=True)
class Caption:
    language: str
    top: str
    bottom: str
    paraphrase: str | None = None
    foreign: str | None = None  # a paraphrase in another language than the caption's

    @property
    def text(self) -> str:
        return f"{self.top} {self.bottom}"


@functools.cache
def corpus(file: Path = CORPUS) -> tuple[Caption, ...]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(_parse(line) for line in lines if line and not line.startswith("#"))


def caption(index: int, seed: int) -> Caption:
    """Return the index-th caption of this seed: first the shuffled corpus, then halves of different captions.

    The captions are distinct up to the square of the corpus' length; beyond it they repeat.
    """
    order = _shuffled(seed)
    shift, position = divmod(index, len(order))
    first, second = order[position], order[(position + shift) % len(order)]
    return first if first is second else Caption(first.language, first.top, second.bottom)


def typo(text: str, rng: random.Random) -> str:
    """Misspell one word of at least four letters; return a text of short words unchanged."""
    words = text.split()
    candidates = [index for index, word in enumerate(words) if len(word) >= TYPO_LETTERS_MIN and word.isalpha()]
    if not candidates:
        return text
    index = rng.choice(candidates)
    words[index] = _misspelt(words[index], rng)
    return " ".join(words)


def partial(text: str, rng: random.Random) -> str:
    """Return a run of about half of the words, at least two if there are two."""
    words = text.split()
    kept = min(len(words), max(2, len(words) // 2))
    start = rng.randrange(len(words) - kept + 1)
    return " ".join(words[start : start + kept])


def glued(text: str) -> str:
    """Remove every second space, as OCR does: `could have been` becomes `couldhave been`."""
    words = text.split()
    return " ".join("".join(words[index : index + 2]) for index in range(0, len(words), 2))


def _parse(line: str) -> Caption:
    language, text, *queries = (part.strip() for part in line.split("|"))
    top, bottom = text.split(" / ")
    paraphrase, foreign = (*queries, None, None)[:2]
    return Caption(language, top, bottom, paraphrase, foreign.partition(": ")[2] if foreign else None)


@functools.cache
def _shuffled(seed: int) -> tuple[Caption, ...]:
    return tuple(random.Random(seed).sample(corpus(), len(corpus())))


def _misspelt(word: str, rng: random.Random) -> str:
    """Swap two neighbours, drop a letter or double one. The first letter stays: people rarely mistype it."""
    index = rng.randrange(1, len(word) - 1)
    before, letter, after = word[:index], word[index], word[index + 1 :]
    swapped = before + after[0] + letter + after[1:]
    choices = [before + after, before + letter * 2 + after]
    return rng.choice([*choices, swapped] if swapped != word else choices)
