"""Authentication, scopes, separate libraries, and the rate limit on unknown tokens."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.app import create_app
from sploot_server.auth.accounts import AccountError, AccountStore, Scope, Token, User
from sploot_server.auth.rate_limit import BURST_MAX, ENTRIES_MAX, REFILL_INTERVAL_S, TokenRateLimiter
from sploot_server.auth.tokens import (
    hash_token,
    matches_digest,
    mint_token,
    parse_scopes,
    parse_token_id,
    token_from_header,
)
from sploot_server.config import Config, ConfigError
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.http.authentication import required_scope
from starlette.routing import Route
from toy_library import FakeEmbedder, picture

ALL = frozenset({Scope.READ, Scope.WRITE})
SIGNED_OUT = {"error": "Unauthorized"}


@dataclass
class Server:
    client: httpx.AsyncClient
    accounts: AccountStore
    routes: list[Route]

    async def token(self, user: str, *, scopes: frozenset[Scope] = ALL, expires_at_ms: int | None = None) -> str:
        text, token_id = mint_token()
        await self.accounts.add_user(User(user, user, 0))
        await self.accounts.add_token(Token(token_id, user, "t", hash_token(text), scopes, 0, expires_at_ms))
        return text

    async def upload(self, token: str, text: str = "cat") -> httpx.Response:
        return await self.client.post(
            "/api/upload", files={"file": ("a.jpg", picture(text), "image/jpeg")}, headers=bearer(token)
        )

    async def get(self, path: str, token: str) -> httpx.Response:
        return await self.client.get(path, headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@contextlib.asynccontextmanager
async def served(config: Config) -> AsyncIterator[Server]:
    config.data.mkdir(exist_ok=True)
    async with (
        create_app(config, FakeEmbedder()) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield Server(client, app.state.accounts, [route for route in app.routes if isinstance(route, Route)])


@pytest.fixture
async def server(config: Config) -> AsyncIterator[Server]:
    async with served(config) as server:
        yield server


async def test_without_accounts_a_loopback_port_accepts_loopback_host_names_only(server: Server) -> None:
    assert (await server.client.get("/api/assets")).status_code == 200
    elsewhere = await server.client.get("/api/assets", headers={"host": "evil.example"})
    assert (elsewhere.status_code, elsewhere.json()["success"]) == (403, False)


async def test_after_the_first_user_every_request_needs_a_token_on_any_host_name(server: Server) -> None:
    token = await server.token("anna")
    rejected = await server.client.get("/api/assets")
    assert (rejected.status_code, rejected.json()) == (401, SIGNED_OUT)
    assert rejected.headers["x-clerk-auth-status"] == "signed-out"
    named = {**bearer(token), "host": "memes.example"}
    assert (await server.client.get("/api/assets", headers=named)).status_code == 200


async def test_revoking_the_last_token_does_not_disable_authentication(server: Server) -> None:
    token = await server.token("anna")
    token_id = parse_token_id(token)
    assert token_id is not None
    assert await server.accounts.revoke_token(token_id, now_ms=1)
    rejected = await server.get("/api/assets", token)
    assert (rejected.status_code, rejected.headers["x-clerk-auth-reason"]) == (401, "token-revoked")
    assert (await server.client.get("/api/assets")).status_code == 401


async def test_an_expired_token_is_signed_out(server: Server) -> None:
    rejected = await server.get("/api/assets", await server.token("anna", expires_at_ms=1))
    assert (rejected.status_code, rejected.headers["x-clerk-auth-reason"]) == (401, "token-expired")


async def test_each_user_has_a_separate_library(server: Server) -> None:
    anna, ben = await server.token("anna"), await server.token("ben")
    hers = (await server.upload(anna)).json()["asset"]
    assert (await server.upload(ben)).status_code == 201, "the same content is new to another user"
    for path in (f"/api/assets/{hers['id']}", f"/api/assets/{hers['id']}/original"):
        assert [(await server.get(path, token)).status_code for token in (anna, ben)] == [200, 404]
    assert [(await server.get("/api/assets", token)).json()["pagination"]["total"] for token in (anna, ben)] == [1, 1]
    found = await server.client.post("/api/search", json={"query": "cat"}, headers=bearer(ben))
    assert hers["id"] not in found.text


async def test_assets_added_without_accounts_have_no_owner_until_a_user_adopts_them(server: Server) -> None:
    await server.upload("")
    anna = await server.token("anna")
    assert (await server.get("/api/assets", anna)).json()["pagination"]["total"] == 0
    assert await server.accounts.adopt_unowned_assets("anna") == 1
    assert (await server.get("/api/assets", anna)).json()["pagination"]["total"] == 1


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "{}", "  Bearer   {} "])
async def test_a_token_is_accepted_in_several_forms(server: Server, header: str) -> None:
    token = await server.token("anna")
    answer = await server.client.get("/api/assets", headers={"authorization": header.format(token)})
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/api/assets", "/api/upload", "/api/tags", "/nowhere", "/api/assets/c1/original"])
async def test_all_paths_answer_signed_out_alike(server: Server, method: str, path: str) -> None:
    await server.token("anna")
    for headers in ({}, bearer("sploot_wrong"), bearer("x\xe9".encode("latin-1").decode("latin-1"))):
        rejected = await server.client.request(
            method, path, headers=[(k, v.encode("latin-1")) for k, v in headers.items()]
        )
        assert (rejected.status_code, rejected.json()) == (401, SIGNED_OUT)
        assert rejected.headers["x-clerk-auth-status"] == "signed-out"


async def test_health_needs_no_token(server: Server) -> None:
    await server.token("anna")
    assert (await server.client.get("/api/health")).status_code == 200


async def test_a_token_allows_what_its_scopes_include(server: Server) -> None:
    read = await server.token("anna", scopes=frozenset({Scope.READ}))
    write = await server.token("anna", scopes=frozenset({Scope.WRITE}))
    assert [(await server.upload(token)).status_code for token in (read, write)] == [403, 201]
    assert [(await server.get("/api/assets", token)).status_code for token in (read, write)] == [200, 403]
    rejected = await server.upload(read)
    assert "write" in rejected.json()["error"]
    assert "x-clerk-auth-status" not in rejected.headers, "the token is valid, only its scope is missing"
    searched = await server.client.post("/api/search", json={"query": "cat"}, headers=bearer(read))
    assert searched.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/assets", Scope.READ),
        ("POST", "/api/search", Scope.READ),
        ("POST", "/api/upload", Scope.WRITE),
        ("PURGE", "/api/whatever", Scope.WRITE),
        ("GET", "/metrics", Scope.ADMIN),
    ],
)
def test_every_request_requires_a_scope(method: str, path: str, scope: Scope) -> None:
    assert required_scope(method, path) is scope


async def test_a_share_link_needs_no_token_and_creating_one_needs_the_scope_write(server: Server) -> None:
    anna, reader = await server.token("anna"), await server.token("ben", scopes=frozenset({Scope.READ}))
    asset_id = (await server.upload(anna)).json()["asset"]["id"]
    path = f"/api/assets/{asset_id}/share"
    assert (await server.client.post(path)).status_code == 401
    assert (await server.client.post(path, headers=bearer(reader))).status_code == 403
    link = (await server.client.post(path, headers=bearer(anna))).json()["shareUrl"]
    shown = await server.client.get(f"{link}/picture")
    assert (shown.status_code, shown.json()["error"][:20]) == (404, "This asset has no th"), (
        "the asset is found, only its image is broken"
    )
    for beside in (f"{link}/../../api/assets", f"/s/../api/assets/{asset_id}"):
        assert (await server.client.get(beside)).status_code in (401, 404)


async def test_unknown_tokens_are_rate_limited_and_valid_ones_are_not(server: Server) -> None:
    token = await server.token("anna")
    wrong = [await server.get("/api/assets", mint_token()[0]) for _ in range(BURST_MAX + 1)]
    assert [each.status_code for each in wrong] == [401] * BURST_MAX + [429]
    assert 1 <= int(wrong[-1].headers["retry-after"]) <= REFILL_INTERVAL_S
    assert (await server.get("/api/assets", token)).status_code == 200, "although no request has used it before"
    assert (await server.get("/api/assets", mint_token()[0])).status_code == 429


async def test_guesses_at_the_id_of_a_token_do_not_lock_its_owner_out(server: Server) -> None:
    token = await server.token("anna")
    guesses = [f"{token[:-2]}{number:02d}" for number in range(BURST_MAX + 5)]
    answers = {(await server.get("/api/assets", each)).status_code for each in guesses if each != token}
    assert answers == {401, 429}
    assert (await server.get("/api/assets", token)).status_code == 200


async def test_while_the_account_store_is_unavailable_requests_get_503(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body is read first, so that a client that sends it before reading receives the response."""
    token = await server.token("anna")

    async def get_token(token_id: str) -> None:
        raise BackendUnavailable("The library's database cannot be reached")

    monkeypatch.setattr(server.accounts, "get_token", get_token)
    answer = await server.upload(token)
    assert (answer.status_code, answer.json()["success"]) == (503, False)
    assert int(answer.headers["retry-after"]) > 0
    assert "connection" not in answer.headers


async def test_the_last_use_of_a_token_is_recorded_once_per_minute(server: Server) -> None:
    token = await server.token("anna")
    await server.get("/api/assets", token)
    [first] = await server.accounts.list_tokens()
    await server.get("/api/assets", token)
    [second] = await server.accounts.list_tokens()
    assert first.last_used_at_ms is not None
    assert first == second


async def test_a_unix_socket_needs_no_token_unless_accounts_are_required(config: Config, tmp_path: Path) -> None:
    async with served(replace(config, uds=tmp_path / "s")) as server:
        await server.token("anna")
        assert (await server.client.get("/api/assets")).status_code == 200
    async with served(replace(config, uds=tmp_path / "s", accounts=True)) as server:
        assert (await server.client.get("/api/assets")).status_code == 401


async def test_a_public_address_requires_an_existing_user(config: Config) -> None:
    public = replace(config, host="0.0.0.0")
    with pytest.raises(ConfigError, match="no user exists"):
        async with served(public):
            pass
    async with served(config) as server:
        token = await server.token("anna")
    async with served(public) as server:
        assert (await server.get("/api/assets", token)).status_code == 200
        await server.accounts.remove_user("anna")
        assert (await server.client.get("/api/assets")).status_code == 401


def test_a_token_matches_only_as_a_whole() -> None:
    text, token_id = mint_token()
    token = Token(token_id, "u", "", hash_token(text), ALL, 0)
    assert parse_token_id(text) == token_id
    assert matches_digest(token, hash_token(text))
    for place in range(len(text)):
        other = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        assert not matches_digest(token, hash_token(other))


def test_tokens_are_unique_and_well_formed() -> None:
    made = {mint_token() for _ in range(1000)}
    assert len({token_id for _, token_id in made}) == len(made) == 1000
    assert all(parse_token_id(text) == token_id for text, token_id in made)


@given(st.text(max_size=80))
def test_any_presented_token_has_a_digest_and_perhaps_an_id(text: str) -> None:
    token = token_from_header(text.encode("utf-8", "surrogatepass").decode("latin-1"))
    assert len(hash_token(token)) == 32
    assert parse_token_id(token) is None or parse_token_id(token) in token


@pytest.mark.parametrize("words", [[], [""], ["read", "everything"]])
def test_scopes_must_be_known(words: list[str]) -> None:
    with pytest.raises(AccountError, match="allowed: read, write, admin"):
        parse_scopes(words)


def test_the_rate_limit_recovers_with_time() -> None:
    now = [100.0]
    limiter = TokenRateLimiter(lambda: now[0])
    for number in range(BURST_MAX):
        assert limiter.record_failure("192.0.2.1", "", bytes([number])) == 0.0
    assert limiter.record_failure("192.0.2.1", "", b"new") == pytest.approx(REFILL_INTERVAL_S)
    assert limiter.record_failure("192.0.2.2", "", b"new elsewhere") == 0.0
    now[0] += REFILL_INTERVAL_S
    assert limiter.record_failure("192.0.2.1", "", b"new") == 0.0


def test_a_repeated_unknown_token_counts_once() -> None:
    limiter = TokenRateLimiter(lambda: 0.0)
    for _ in range(1000):
        assert limiter.record_failure("192.0.2.1", "id", b"old") == 0.0
    assert limiter.record_failure("192.0.2.1", "id", b"new") == 0.0


def test_attempts_at_one_token_id_from_many_addresses_count_together() -> None:
    limiter = TokenRateLimiter(lambda: 0.0)
    for number in range(BURST_MAX):
        limiter.record_failure(f"192.0.2.{number}", "id", bytes([number]))
    assert limiter.record_failure("192.0.2.99", "id", b"new") > 0
    assert limiter.record_failure("192.0.2.99", "other", b"new") == 0.0


def test_all_addresses_of_an_ipv6_network_count_together() -> None:
    limiter = TokenRateLimiter(lambda: 0.0)
    for number in range(BURST_MAX):
        limiter.record_failure(f"2001:db8::{number:x}", "", bytes([number]))
    assert limiter.record_failure("2001:db8::ffff:1", "", b"new") > 0
    assert limiter.record_failure("2001:db8:0:1::1", "", b"new") == 0.0


def test_the_number_of_rate_limit_entries_is_bounded() -> None:
    limiter = TokenRateLimiter(lambda: 0.0)
    for number in range(ENTRIES_MAX + 100):
        limiter.record_failure(f"{number}", "", number.to_bytes(4))
    assert limiter.entry_count <= 3 * ENTRIES_MAX
    assert limiter.record_failure("0", "", b"new") == 0.0, "the oldest entries are removed"


async def test_no_route_reads_or_changes_assets_of_another_user(server: Server) -> None:
    anna, ben = await server.token("anna"), await server.token("ben")
    asset = (await server.upload(anna)).json()["asset"]
    routes = [route for route in server.routes if "{id}" in route.path]
    assert len(routes) >= 8
    for route in routes:
        for method in route.methods or ():
            path = route.path.replace("{id}", asset["id"])
            answer = await server.client.request(
                method, path, json={"tagNames": ["x"], "name": "x"}, headers=bearer(ben)
            )
            assert answer.status_code == 404, f"{method} {path}"
    kept = (await server.get(f"/api/assets/{asset['id']}", anna)).json()["asset"]
    assert (kept["favorite"], kept["tags"]) == (False, [])
