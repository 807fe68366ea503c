"""Finding a picture by what is written in it, by what that means, and by what is to be seen.

    score = meaning + WORDS * coverage^3 + PICTURE * picture

Meaning is the cosine between query and text; picture that between query and picture, if there is a model for it,
brought to a scale from 0 for what is unrelated to 1; coverage is the share of the query's words that are in the text,
slips forgiven; cubed, because one word of many in common is chance. Scores are fused, not ranks: fusing ranks buries
what shares the meaning but no word. What a paraphrase finds has a cosine of 0.3 to 0.6 and no coverage; a quote has a
coverage of 1.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from sploot_server.assets import Begun, Candidate, Filter, SearchStore, Text
from sploot_server.embedding import Embedder, Unavailable, Vectors
from sploot_server.model import Asset, NotFound
from sploot_server.words import content_words, presence, trigrams

WORDS = 0.5
PICTURE = 0.5
SCORE_MAX = 1.0 + WORDS
CANDIDATES = 200  # of each kind, at least; the words of only these are looked at closely
WORDS_MAX = 40  # of a query
NOTHING = Vectors(None, None)

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Match:
    """`similarity` is the score brought to at most 1. `meaning` and `picture` are None if they were not compared.

    `others` are the ids of near-duplicates, which are not matches of their own.
    """

    asset: Asset
    text: str
    similarity: float
    meaning: float | None
    picture: float | None
    coverage: float
    words: Sequence[str]
    others: Sequence[str]


@dataclass(frozen=True, slots=True)
class Matches:
    """A page of what was found, best first. `more` says whether others follow.

    `model` is None if no vectors could be had: then only shared words were found.
    """

    matches: Sequence[Match]
    more: bool
    model: str | None


@dataclass(frozen=True, slots=True)
class _Coverage:
    share: float  # of the words of a query
    words: Sequence[str]  # that are in the text


NOT_COVERED = _Coverage(0.0, ())


@dataclass(frozen=True, slots=True)
class _Judged:
    candidate: Candidate
    covered: _Coverage
    picture: float | None = None

    @property
    def similarity(self) -> float:
        candidate = self.candidate
        if candidate.meaning is None and self.picture is None:
            return self.covered.share**3
        score = (candidate.meaning or 0.0) + WORDS * self.covered.share**3 + PICTURE * (self.picture or 0.0)
        return min(score, SCORE_MAX) / SCORE_MAX


class Search:
    """Sees whatever was ready when it is asked; nothing is cached."""

    def __init__(self, store: SearchStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    async def find(self, query: str, *, limit: int, only: Filter, offset: int = 0) -> Matches:
        """`limit` live assets that have anything to do with the query, after the `offset` best."""
        words = content_words(query)[:WORDS_MAX]
        count = max(CANDIDATES, 2 * (offset + limit))
        sought, (begun, covered) = await asyncio.gather(self._vectors(query), self._begun(words, only, count))
        model = self._embedder.model
        candidates = await self._store.candidates(begun, sought, model)
        judged = await asyncio.to_thread(_judge, words, candidates, covered, model.picture_cosines)
        return await self._page(_one_of_each_kin(judged), offset, limit, None if sought == NOTHING else model.name)

    async def similar(self, asset_id: str, *, limit: int, owner: str) -> Matches:
        """What is like an asset: its near-duplicates, then those that mean or show the like. Raises NotFound."""
        model = self._embedder.model
        seed = await self._store.seed(asset_id, model, owner)
        if seed is None:
            raise NotFound
        begun = await self._store.begin([], Filter(owner), CANDIDATES)
        candidates = await self._store.candidates(begun, seed.vectors, model)
        kin = seed.kin
        near = [_Judged(Candidate(Text(row, "", seed.row), 1.0, None), _Coverage(1.0, ())) for row in kin]
        like = [
            _Judged(each, NOT_COVERED, each.picture) for each in candidates if each.text.row not in {seed.row, *kin}
        ]
        return await self._page([*near, *_one_of_each_kin(like)], 0, limit, model.name)

    async def _vectors(self, query: str) -> Vectors:
        try:
            return await self._embedder.query(query)
        except Unavailable as error:
            logger.warning("searching by words only", reason=str(error))
            return NOTHING

    async def _begun(self, words: Sequence[str], only: Filter, count: int) -> tuple[Begun, Mapping[Text, _Coverage]]:
        """What can be found and judged without vectors."""
        begun = await self._store.begin(trigrams(words), only, count)
        return begun, await asyncio.to_thread(lambda: {text: _coverage(words, text) for text in begun.like})

    async def _page(self, ranked: Sequence[_Judged], offset: int, limit: int, model: str | None) -> Matches:
        page = ranked[offset : offset + limit]
        found = await self._store.found([each.candidate.text.row for each in page])
        matches = [
            Match(
                there.asset,
                there.text,
                each.similarity,
                each.candidate.meaning,
                each.picture,
                each.covered.share,
                each.covered.words,
                there.others,
            )
            for each in page
            if (there := found.get(each.candidate.text.row)) is not None
        ]
        return Matches(matches, len(ranked) > offset + limit, model)


def _judge(
    words: Sequence[str],
    candidates: Sequence[Candidate],
    known: Mapping[Text, _Coverage],
    picture_cosines: tuple[float, float],
) -> list[_Judged]:
    """Those that have anything to do with what is sought."""
    judged = [
        _Judged(each, known.get(each.text) or _coverage(words, each.text), _scaled(each.picture, *picture_cosines))
        for each in candidates
    ]
    return [each for each in judged if each.similarity > 0]


def _coverage(words: Sequence[str], text: Text) -> _Coverage:
    present = {word: presence(word, text.squeezed) for word in words}
    return _Coverage(sum(present.values()) / max(len(words), 1), [word for word in words if present[word]])


def _scaled(cosine: float | None, unrelated: float, matching: float) -> float | None:
    return None if cosine is None else min(max((cosine - unrelated) / (matching - unrelated), 0.0), 1.0)


def _one_of_each_kin(judged: Sequence[_Judged]) -> list[_Judged]:
    """The best of each kind of near-duplicates, best first; the oldest first among equals."""
    ranked = sorted(judged, key=lambda each: (-each.similarity, each.candidate.text.row))
    best: dict[int, _Judged] = {}
    for each in ranked:
        best.setdefault(each.candidate.text.kin, each)
    return list(best.values())
