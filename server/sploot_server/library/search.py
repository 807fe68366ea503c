"""Hybrid search: ranks images by their text, by the meaning of that text, and by what they show.

    score = text_similarity + COVERAGE_WEIGHT * coverage^4 + PHRASE_WEIGHT * phrase + IMAGE_WEIGHT * image_similarity

`text_similarity` is the cosine of the query and the text, less what any query gets from this text and what this query
gets from any text (`inference/text_encoder.py`). `phrase` is 1 if the text contains the query as it was typed.
`image_similarity` is the cosine of the query and the image, scaled from 0 (unrelated) to 1 (matching), if a CLIP model
is configured. `coverage` is the share of the query's words that occur in the text, typos tolerated; to the fourth
power, because one common word out of many is chance. Scores are fused, not ranks: rank fusion buries assets that share
the meaning but no word.

A result is *close* if a word of the query stands in it, or if its text or image is nearer than unrelated ones are:
three paraphrases of four, and one of ten queries for what the library does not have. The others are merely the nearest.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from sploot_server.domain.asset_query import AssetFilter
from sploot_server.domain.embedding import Embedder, EmbedderUnavailable, Vectors
from sploot_server.domain.entities import Asset, NotFound, Template
from sploot_server.domain.text_match import content_words, match_score, normalize, searchable_text, trigrams
from sploot_server.library.turns import OwnerTurns
from sploot_server.storage.interfaces import AssetText, Candidate, PreparedSearch, SearchStore

COVERAGE_WEIGHT = 0.5
COVERAGE_POWER = 4
PHRASE_WEIGHT = 0.2
PHRASE_CHARS_MIN = 4
IMAGE_WEIGHT = 0.5
SCORE_MAX = 1.0 + COVERAGE_WEIGHT + PHRASE_WEIGHT
CLOSE_TEXT_MIN = 0.1
CLOSE_IMAGE_MIN = 0.5
CLOSE_COVERAGE_MIN = 0.5  # of words with typos: a single short one of many is chance
CANDIDATES_MIN = 200  # of each kind; only candidates are matched word by word
QUERY_WORDS_MAX = 40
SEARCHES_MAX = 2  # at once; more would only slow each other down
NO_VECTORS = Vectors(None, None)

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Match:
    """A search result.

    `similarity` is the score divided by SCORE_MAX. `text_similarity` and `image_similarity` are None if not computed.
    `template` is the name of the template that a matched word belongs to. `near_duplicates` are ids of assets in the
    same duplicate group, which are not results of their own.
    """

    asset: Asset
    similarity: float
    text_similarity: float | None
    image_similarity: float | None
    coverage: float
    matched_words: Sequence[str]
    template: str | None
    is_close: bool
    near_duplicates: Sequence[str]

    @property
    def closest_in(self) -> str | None:
        """In what the asset is closest to the query: meaning or picture; None if neither was compared."""
        known = {"meaning": self.text_similarity, "picture": self.image_similarity}
        compared = {kind: value for kind, value in known.items() if value is not None}
        return max(compared, key=lambda kind: compared[kind], default=None)


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
    is_exact: bool = False  # at least one word is there without a typo
    is_phrase: bool = False


NO_COVERAGE = _Coverage(0.0, ())


@dataclass(frozen=True, slots=True)
class _ScoredCandidate:
    candidate: Candidate
    coverage: _Coverage
    text_similarity: float | None = None
    image_similarity: float | None = None

    @property
    def has_evidence(self) -> bool:
        return bool(self.coverage.matched_words) or not self.text_similarity is self.image_similarity is None

    @property
    def is_close(self) -> bool:
        return (
            self.coverage.is_exact
            or self.coverage.ratio >= CLOSE_COVERAGE_MIN
            or (self.text_similarity or 0.0) >= CLOSE_TEXT_MIN
            or (self.image_similarity or 0.0) >= CLOSE_IMAGE_MIN
        )

    @property
    def score(self) -> float:
        """The score, from 0 to 1 except for what is farther from the query than unrelated texts are."""
        if self.text_similarity is self.image_similarity is None:
            return self.coverage.ratio**COVERAGE_POWER
        score = (
            (self.text_similarity or 0.0)
            + COVERAGE_WEIGHT * self.coverage.ratio**COVERAGE_POWER
            + PHRASE_WEIGHT * self.coverage.is_phrase
            + IMAGE_WEIGHT * (self.image_similarity or 0.0)
        )
        return min(score / SCORE_MAX, 1.0)


class Search:
    """Searches the assets that are ready at the time of the call; results are not cached."""

    def __init__(self, store: SearchStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._turns = OwnerTurns(SEARCHES_MAX)

    async def search(self, query: str, *, limit: int, asset_filter: AssetFilter, offset: int = 0) -> MatchPage:
        """Return up to `limit` live assets that match the query, after the `offset` best; owners take turns."""
        async with self._turns.turn(asset_filter.owner):
            return await self._search(query, limit, asset_filter, offset)

    async def _search(self, query: str, limit: int, asset_filter: AssetFilter, offset: int) -> MatchPage:
        words = content_words(query)[:QUERY_WORDS_MAX]
        count = max(CANDIDATES_MIN, 2 * (offset + limit))
        query_vectors, (prepared, coverages) = await asyncio.gather(
            self._embed_query(query), self._prepare(query, words, asset_filter, count)
        )
        model = self._embedder.model
        candidates = await self._store.find_candidates(prepared, query_vectors, model)
        scored = await asyncio.to_thread(
            _score_candidates,
            [(each, coverages.get(each.text) or _compute_coverage(query, words, each.text)) for each in candidates],
            query_vectors.background,
            model.image_cosine_range,
        )
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
            _ScoredCandidate(
                Candidate(AssetText(row, "", seed.row), 1.0, None), _Coverage(1.0, (), is_phrase=True), 1.0
            )
            for row in near_duplicates
        ]
        scored_similar = [
            _ScoredCandidate(each, NO_COVERAGE, each.text_similarity, each.image_similarity)
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
        self, query: str, words: Sequence[str], asset_filter: AssetFilter, count: int
    ) -> tuple[PreparedSearch, Mapping[AssetText, _Coverage]]:
        """Find and score the text matches, which need no vectors."""
        prepared = await self._store.prepare_search(trigrams(words), asset_filter, count)
        return prepared, await asyncio.to_thread(
            lambda: {text: _compute_coverage(query, words, text) for text in prepared.text_matches}
        )

    async def _build_page(
        self, ranked: Sequence[_ScoredCandidate], offset: int, limit: int, model: str | None
    ) -> MatchPage:
        page = ranked[offset : offset + limit]
        hits = await self._store.get_hits([each.candidate.text.row for each in page])
        matches = [
            Match(
                hit.asset,
                max(each.score, 0.0),
                each.text_similarity,
                each.image_similarity,
                each.coverage.ratio,
                each.coverage.matched_words,
                _find_template(hit.asset.templates, each.coverage.matched_words),
                each.is_close,
                hit.near_duplicates,
            )
            for each in page
            if (hit := hits.get(each.candidate.text.row)) is not None
        ]
        return MatchPage(matches, len(ranked) > offset + limit, model)


def _score_candidates(
    candidates: Sequence[tuple[Candidate, _Coverage]], background: float, image_cosine_range: tuple[float, float]
) -> list[_ScoredCandidate]:
    """Score the candidates and return those about which anything is known."""
    scored = [
        _ScoredCandidate(
            each,
            coverage,
            None if each.text_similarity is None else each.text_similarity - each.hubness - background,
            _scale_cosine(each.image_similarity, *image_cosine_range),
        )
        for each, coverage in candidates
    ]
    return [each for each in scored if each.has_evidence]


def _compute_coverage(query: str, words: Sequence[str], text: AssetText) -> _Coverage:
    present = {word: match_score(word, text.normalized) for word in words}
    phrase = normalize(query)
    return _Coverage(
        sum(present.values()) / max(len(words), 1),
        [word for word in words if present[word]],
        is_exact=1.0 in present.values(),
        is_phrase=len(phrase) >= PHRASE_CHARS_MIN and phrase in text.normalized,
    )


def _find_template(templates: Sequence[Template], words: Sequence[str]) -> str | None:
    """Return the name of the first template with one of the words in its name or keywords."""
    for template in templates:
        names = searchable_text(template.name, template.keywords)
        if any(match_score(word, names) for word in words):
            return template.name
    return None


def _scale_cosine(cosine: float | None, unrelated: float, matching: float) -> float | None:
    return None if cosine is None else min(max((cosine - unrelated) / (matching - unrelated), 0.0), 1.0)


def _best_per_duplicate_group(scored: Sequence[_ScoredCandidate]) -> list[_ScoredCandidate]:
    """Return the best of each duplicate group, best first, the oldest first among equal scores."""
    ranked = sorted(scored, key=lambda each: (-each.score, each.candidate.text.row))
    best: dict[int, _ScoredCandidate] = {}
    for each in ranked:
        best.setdefault(each.candidate.text.duplicate_group, each)
    return list(best.values())
