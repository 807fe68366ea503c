"""Sentences for memes, and the ways in which people search for them again.

The sentences are in `captions.txt`, one a line. A caption has two halves, because the classic meme
has a line above the picture's subject and a line below it.
"""

import functools
import random
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).with_name("captions.txt")
HELD_OUT = Path(__file__).with_name("captions_held_out.txt")
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
    """Give the index-th caption of this seed: first the corpus, shuffled, then halves of different captions.

    All are different as long as index is below the square of the corpus' length; beyond it they repeat.
    """
    order = _shuffled(seed)
    turn, place = divmod(index, len(order))
    first, second = order[place], order[(place + turn) % len(order)]
    return first if first is second else Caption(first.language, first.top, second.bottom)


def typo(text: str, rng: random.Random) -> str:
    """Misspell one word of at least four letters, the way fingers do; a text of short words comes back as it was."""
    words = text.split()
    places = [place for place, word in enumerate(words) if len(word) >= TYPO_LETTERS_MIN and word.isalpha()]
    if not places:
        return text
    place = rng.choice(places)
    words[place] = _misspelt(words[place], rng)
    return " ".join(words)


def partial(text: str, rng: random.Random) -> str:
    """Remember only a run of about half of the words, never fewer than two (where there are two)."""
    words = text.split()
    kept = min(len(words), max(2, len(words) // 2))
    start = rng.randrange(len(words) - kept + 1)
    return " ".join(words[start : start + kept])


def glued(text: str) -> str:
    """Lose every second space, the way text recognition does: `could have been` is read as `couldhave been`."""
    words = text.split()
    return " ".join("".join(words[place : place + 2]) for place in range(0, len(words), 2))


def _parse(line: str) -> Caption:
    language, text, *queries = (part.strip() for part in line.split("|"))
    top, bottom = text.split(" / ")
    paraphrase, foreign = (*queries, None, None)[:2]
    return Caption(language, top, bottom, paraphrase, foreign.partition(": ")[2] if foreign else None)


@functools.cache
def _shuffled(seed: int) -> tuple[Caption, ...]:
    return tuple(random.Random(seed).sample(corpus(), len(corpus())))


def _misspelt(word: str, rng: random.Random) -> str:
    """Swap two neighbours, drop a letter or double one; the first letter is rarely the wrong one, so it stays."""
    place = rng.randrange(1, len(word) - 1)
    before, letter, after = word[:place], word[place], word[place + 1 :]
    swapped = before + after[0] + letter + after[1:]
    choices = [before + after, before + letter * 2 + after]
    return rng.choice([*choices, swapped] if swapped != word else choices)
