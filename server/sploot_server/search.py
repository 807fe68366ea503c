"""Finding a picture by what is written in it, or by what that means.

    score = cosine + WORDS * coverage^2

The cosine is between query and text, both seen from the centre of the library; the coverage is the share of the query's
words that are in the text, slips forgiven. Scores are fused, not ranks: fusing ranks buries what shares the meaning but
no word. What a paraphrase finds has a cosine of 0.3 to 0.6 and no coverage; a quote has a coverage of 1.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from sploot_server.assets import Filter, SearchStore
from sploot_server.embedding import Embedder, Unavailable
from sploot_server.model import Asset
from sploot_server.words import content_words, presence, trigrams

if TYPE_CHECKING:
    from sploot_server.vectors import Similarities, VectorIndex

WORDS = 0.5
SCORE_MAX = 1.0 + WORDS
CANDIDATES = 300  # from each of meaning and words; the words of only these are looked at closely
REFRESH_ROWS = 5000
WORDS_MAX = 40  # of a query

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Match:
    """`similarity` is the score brought to at most 1; `meaning` is None if only words were compared."""

    asset: Asset
    text: str
    similarity: float
    meaning: float | None
    coverage: float
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Matches:
    """Best first. `model` is None if no vectors could be had: then only shared words were found."""

    matches: Sequence[Match]
    model: str | None


@dataclass(slots=True)
class _Candidate:
    meaning: float | None = None
    coverage: float = 0.0
    words: list[str] = field(default_factory=list)

    def similarity(self) -> float:
        if self.meaning is None:
            return self.coverage**2
        return (self.meaning + WORDS * self.coverage**2) / SCORE_MAX


class Search:
    """Sees whatever was ready when it is asked: new vectors are read before each search, nothing is cached."""

    def __init__(self, store: SearchStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._index: VectorIndex | None = None
        self._order = 0  # of the last vector in the index
        self._refreshing = asyncio.Lock()

    async def find(self, query: str, *, limit: int, only: Filter) -> Matches:
        """At most `limit` live assets that have anything to do with the query."""
        words = content_words(query)[:WORDS_MAX]
        similar = await self._by_meaning(query)
        rows = dict.fromkeys(await self._store.rows_like(trigrams(words), CANDIDATES, only.owner))
        share = CANDIDATES
        while True:
            nearest = [] if similar is None else similar.nearest(share)
            texts = await self._store.texts([*rows, *nearest], only)
            # Filters and deleted assets thin the candidates out: widen the circle until enough are left.
            if len(texts) >= limit or similar is None or share >= len(similar):
                break
            share *= 8
        judged = await asyncio.to_thread(_judge, words, texts, similar)
        top = sorted(judged, key=lambda row: judged[row].similarity(), reverse=True)[:limit]
        found = await self._store.found(top)
        matches = [_match(judged[row], *found[row]) for row in top if row in found]
        model = None if similar is None else self._embedder.model.name
        return Matches([match for match in matches if match.similarity > 0], model)

    async def _by_meaning(self, query: str) -> "Similarities | None":
        try:
            index = await self._refreshed()
            vector = await self._embedder.query(query)
        except Unavailable as error:
            logger.warning("searching by words only", reason=str(error))
            return None
        return await asyncio.to_thread(index.similarities, vector)

    async def _refreshed(self) -> "VectorIndex":
        async with self._refreshing:
            if self._index is None:
                self._index = await asyncio.to_thread(_new_index, await self._embedder.centre())
            while True:
                fresh = await self._store.vectors_after(self._order, self._embedder.model.name, REFRESH_ROWS)
                if not fresh:
                    return self._index
                await asyncio.to_thread(self._index.add, [row for _, row, _ in fresh], [vector for *_, vector in fresh])
                self._order = fresh[-1][0]


def _new_index(centre: bytes) -> "VectorIndex":
    from sploot_server.vectors import VectorIndex  # noqa: PLC0415 - numpy, which only searches need

    return VectorIndex(centre)


def _judge(words: Sequence[str], texts: Mapping[int, str], similar: "Similarities | None") -> dict[int, _Candidate]:
    judged = {}
    for row, text in texts.items():
        present = {word: presence(word, text) for word in words}
        judged[row] = _Candidate(
            meaning=None if similar is None else similar.of(row),
            coverage=sum(present.values()) / max(len(words), 1),
            words=[word for word in words if present[word]],
        )
    return judged


def _match(candidate: _Candidate, asset: Asset, text: str) -> Match:
    return Match(asset, text, candidate.similarity(), candidate.meaning, candidate.coverage, candidate.words)
