"""Hybrid search: ranks images by their text, by the meaning of that text, and by what they show.

    score = text_similarity + COVERAGE_WEIGHT * coverage^3 + IMAGE_WEIGHT * image_similarity

`text_similarity` is the cosine of the query and the text. `image_similarity` is the cosine of the query and the image,
scaled from 0 (unrelated) to 1 (matching), if a CLIP model is configured. `coverage` is the share of the query's words
that occur in the text, typos tolerated; cubed, because one common word out of many is chance. Scores are fused, not
ranks: rank fusion buries assets that share the meaning but no word. A paraphrase has a cosine of 0.3 to 0.6 and no
coverage; a quote has a coverage of 1.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from sploot_server.domain.embedding import Embedder, EmbedderUnavailable, Vectors
from sploot_server.domain.entities import Asset, NotFound
from sploot_server.domain.text_match import content_words, match_score, trigrams
from sploot_server.storage.interfaces import AssetFilter, AssetText, Candidate, PreparedSearch, SearchStore

COVERAGE_WEIGHT = 0.5
IMAGE_WEIGHT = 0.5
SCORE_MAX = 1.0 + COVERAGE_WEIGHT
CANDIDATES_MIN = 200  # of each kind; only candidates are matched word by word
QUERY_WORDS_MAX = 40
NO_VECTORS = Vectors(None, None)

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Match:
    """A search result.

    `similarity` is the score divided by SCORE_MAX. `text_similarity` and `image_similarity` are None if not computed.
    `near_duplicates` are ids of assets in the same duplicate group, which are not results of their own.
    """

    asset: Asset
    text: str
    similarity: float
    text_similarity: float | None
    image_similarity: float | None
    coverage: float
    matched_words: Sequence[str]
    near_duplicates: Sequence[str]


@dataclass(frozen=True, slots=True)
class MatchPage:
    """A page of results, best first; `has_more` is true if another page follows.

    `model` is None if the query could not be embedded: the results then match by words only.
    """

    matches: Sequence[Match]
    has_more: bool
    model: str | None


@dataclass(frozen=True, slots=True)
class _Coverage:
    ratio: float  # share of the query's words that the text contains
    matched_words: Sequence[str]


NO_COVERAGE = _Coverage(0.0, ())


@dataclass(frozen=True, slots=True)
class _ScoredCandidate:
    candidate: Candidate
    coverage: _Coverage
    image_similarity: float | None = None

    @property
    def similarity(self) -> float:
        candidate = self.candidate
        if candidate.text_similarity is None and self.image_similarity is None:
            return self.coverage.ratio**3
        score = (
            (candidate.text_similarity or 0.0)
            + COVERAGE_WEIGHT * self.coverage.ratio**3
            + IMAGE_WEIGHT * (self.image_similarity or 0.0)
        )
        return min(score, SCORE_MAX) / SCORE_MAX


class Search:
    """Searches the assets that are ready at the time of the call; results are not cached."""

    def __init__(self, store: SearchStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    async def search(self, query: str, *, limit: int, asset_filter: AssetFilter, offset: int = 0) -> MatchPage:
        """Return up to `limit` live assets that match the query, after the `offset` best."""
        words = content_words(query)[:QUERY_WORDS_MAX]
        count = max(CANDIDATES_MIN, 2 * (offset + limit))
        query_vectors, (prepared, coverages) = await asyncio.gather(
            self._embed_query(query), self._prepare(words, asset_filter, count)
        )
        model = self._embedder.model
        candidates = await self._store.find_candidates(prepared, query_vectors, model)
        scored = await asyncio.to_thread(_score_candidates, words, candidates, coverages, model.image_cosine_range)
        return await self._build_page(
            _best_per_duplicate_group(scored), offset, limit, None if query_vectors == NO_VECTORS else model.name
        )

    async def find_similar(self, asset_id: str, *, limit: int, owner: str) -> MatchPage:
        """Return the near-duplicates of an asset, then the assets with similar text or image. Raises NotFound."""
        model = self._embedder.model
        seed = await self._store.get_seed(asset_id, model, owner)
        if seed is None:
            raise NotFound
        prepared = await self._store.prepare_search([], AssetFilter(owner), CANDIDATES_MIN)
        candidates = await self._store.find_candidates(prepared, seed.vectors, model)
        near_duplicates = seed.near_duplicates
        scored_duplicates = [
            _ScoredCandidate(Candidate(AssetText(row, "", seed.row), 1.0, None), _Coverage(1.0, ()))
            for row in near_duplicates
        ]
        scored_similar = [
            _ScoredCandidate(each, NO_COVERAGE, each.image_similarity)
            for each in candidates
            if each.text.row not in {seed.row, *near_duplicates}
        ]
        return await self._build_page(
            [*scored_duplicates, *_best_per_duplicate_group(scored_similar)], 0, limit, model.name
        )

    async def _embed_query(self, query: str) -> Vectors:
        try:
            return await self._embedder.embed_query(query)
        except EmbedderUnavailable as error:
            logger.warning("searching by words only", error=str(error))
            return NO_VECTORS

    async def _prepare(
        self, words: Sequence[str], asset_filter: AssetFilter, count: int
    ) -> tuple[PreparedSearch, Mapping[AssetText, _Coverage]]:
        """Find and score the text matches, which need no vectors."""
        prepared = await self._store.prepare_search(trigrams(words), asset_filter, count)
        return prepared, await asyncio.to_thread(
            lambda: {text: _compute_coverage(words, text) for text in prepared.text_matches}
        )

    async def _build_page(
        self, ranked: Sequence[_ScoredCandidate], offset: int, limit: int, model: str | None
    ) -> MatchPage:
        page = ranked[offset : offset + limit]
        hits = await self._store.get_hits([each.candidate.text.row for each in page])
        matches = [
            Match(
                hit.asset,
                hit.text,
                each.similarity,
                each.candidate.text_similarity,
                each.image_similarity,
                each.coverage.ratio,
                each.coverage.matched_words,
                hit.near_duplicates,
            )
            for each in page
            if (hit := hits.get(each.candidate.text.row)) is not None
        ]
        return MatchPage(matches, len(ranked) > offset + limit, model)


def _score_candidates(
    words: Sequence[str],
    candidates: Sequence[Candidate],
    coverages: Mapping[AssetText, _Coverage],
    image_cosine_range: tuple[float, float],
) -> list[_ScoredCandidate]:
    """Score the candidates and return those that match the query at all."""
    scored = [
        _ScoredCandidate(
            each,
            coverages.get(each.text) or _compute_coverage(words, each.text),
            _scale_cosine(each.image_similarity, *image_cosine_range),
        )
        for each in candidates
    ]
    return [each for each in scored if each.similarity > 0]


def _compute_coverage(words: Sequence[str], text: AssetText) -> _Coverage:
    present = {word: match_score(word, text.normalized) for word in words}
    return _Coverage(sum(present.values()) / max(len(words), 1), [word for word in words if present[word]])


def _scale_cosine(cosine: float | None, unrelated: float, matching: float) -> float | None:
    return None if cosine is None else min(max((cosine - unrelated) / (matching - unrelated), 0.0), 1.0)


def _best_per_duplicate_group(scored: Sequence[_ScoredCandidate]) -> list[_ScoredCandidate]:
    """Return the best of each duplicate group, best first, the oldest first among equal scores."""
    ranked = sorted(scored, key=lambda each: (-each.similarity, each.candidate.text.row))
    best: dict[int, _ScoredCandidate] = {}
    for each in ranked:
        best.setdefault(each.candidate.text.duplicate_group, each)
    return list(best.values())
