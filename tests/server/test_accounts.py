"""Who is let in, to which library, and what the others are told."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.accounts import AccountError, AccountStore, Scope, Token, User
from sploot_server.accounts.guard import scope_needed
from sploot_server.accounts.guesses import GUESSES_MAX, REFILL_S, REMEMBERED_MAX, Guesses
from sploot_server.accounts.tokens import digest_of, id_of, is_same, minted, scopes_of, shown
from sploot_server.config import Config, ConfigError
from sploot_server.model import Unreachable
from sploot_server.serve import library_app
from starlette.routing import Route
from toy_library import FakeEmbedder, picture

ALL = frozenset({Scope.READ, Scope.WRITE})
SIGNED_OUT = {"error": "Unauthorized"}


@dataclass
class Door:
    client: httpx.AsyncClient
    accounts: AccountStore
    routes: list[Route]

    async def token(self, user: str, *, scopes: frozenset[Scope] = ALL, expires_at_ms: int | None = None) -> str:
        text, token_id = minted()
        await self.accounts.add_user(User(user, user, 0))
        await self.accounts.add_token(Token(token_id, user, "t", digest_of(text), scopes, 0, expires_at_ms))
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
async def served(config: Config) -> AsyncIterator[Door]:
    config.data.mkdir(exist_ok=True)
    async with (
        library_app(config, FakeEmbedder()) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield Door(client, app.state.accounts, [route for route in app.routes if isinstance(route, Route)])


@pytest.fixture
async def door(config: Config) -> AsyncIterator[Door]:
    async with served(config) as door:
        yield door


async def test_without_any_token_a_port_of_this_machine_is_open_under_its_own_names_only(door: Door) -> None:
    assert (await door.client.get("/api/assets")).status_code == 200
    elsewhere = await door.client.get("/api/assets", headers={"host": "evil.example"})
    assert (elsewhere.status_code, elsewhere.json()["success"]) == (403, False)


async def test_with_the_first_token_everybody_needs_one_under_any_name(door: Door) -> None:
    token = await door.token("anna")
    refused = await door.client.get("/api/assets")
    assert (refused.status_code, refused.json()) == (401, SIGNED_OUT)
    assert refused.headers["x-clerk-auth-status"] == "signed-out"
    named = {**bearer(token), "host": "memes.example"}
    assert (await door.client.get("/api/assets", headers=named)).status_code == 200


async def test_the_last_token_revoked_does_not_open_the_door(door: Door) -> None:
    token = await door.token("anna")
    token_id = id_of(token)
    assert token_id is not None
    assert await door.accounts.revoke(token_id, now_ms=1)
    refused = await door.get("/api/assets", token)
    assert (refused.status_code, refused.headers["x-clerk-auth-reason"]) == (401, "token-revoked")
    assert (await door.client.get("/api/assets")).status_code == 401


async def test_an_expired_token_is_signed_out(door: Door) -> None:
    refused = await door.get("/api/assets", await door.token("anna", expires_at_ms=1))
    assert (refused.status_code, refused.headers["x-clerk-auth-reason"]) == (401, "token-expired")


async def test_each_user_has_a_library_of_his_own(door: Door) -> None:
    anna, ben = await door.token("anna"), await door.token("ben")
    hers = (await door.upload(anna)).json()["asset"]
    assert (await door.upload(ben)).status_code == 201, "the same bytes are new to him"
    for path in (f"/api/assets/{hers['id']}", f"/api/assets/{hers['id']}/original"):
        assert [(await door.get(path, token)).status_code for token in (anna, ben)] == [200, 404]
    assert [(await door.get("/api/assets", token)).json()["pagination"]["total"] for token in (anna, ben)] == [1, 1]
    found = await door.client.post("/api/search", json={"query": "cat"}, headers=bearer(ben))
    assert hers["id"] not in found.text


async def test_what_was_added_without_accounts_is_nobodys_until_a_user_adopts_it(door: Door) -> None:
    await door.upload("")
    anna = await door.token("anna")
    assert (await door.get("/api/assets", anna)).json()["pagination"]["total"] == 0
    assert await door.accounts.adopt("anna") == 1
    assert (await door.get("/api/assets", anna)).json()["pagination"]["total"] == 1


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "{}", "  Bearer   {} "])
async def test_a_token_may_be_shown_in_several_ways(door: Door, header: str) -> None:
    token = await door.token("anna")
    answer = await door.client.get("/api/assets", headers={"authorization": header.format(token)})
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/api/assets", "/api/upload", "/api/tags", "/nowhere", "/api/assets/c1/original"])
async def test_signed_out_is_told_alike_everywhere(door: Door, method: str, path: str) -> None:
    await door.token("anna")
    for headers in ({}, bearer("sploot_wrong"), bearer("x\xe9".encode("latin-1").decode("latin-1"))):
        refused = await door.client.request(
            method, path, headers=[(k, v.encode("latin-1")) for k, v in headers.items()]
        )
        assert (refused.status_code, refused.json()) == (401, SIGNED_OUT)
        assert refused.headers["x-clerk-auth-status"] == "signed-out"


async def test_health_needs_no_token(door: Door) -> None:
    await door.token("anna")
    assert (await door.client.get("/api/health")).status_code == 200


async def test_a_token_does_what_its_scopes_say(door: Door) -> None:
    read = await door.token("anna", scopes=frozenset({Scope.READ}))
    write = await door.token("anna", scopes=frozenset({Scope.WRITE}))
    assert [(await door.upload(token)).status_code for token in (read, write)] == [403, 201]
    assert [(await door.get("/api/assets", token)).status_code for token in (read, write)] == [200, 403]
    refused = await door.upload(read)
    assert "write" in refused.json()["error"]
    assert "x-clerk-auth-status" not in refused.headers, "signed in, though not for that"
    searched = await door.client.post("/api/search", json={"query": "cat"}, headers=bearer(read))
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
def test_what_is_needed_is_known_for_every_request(method: str, path: str, scope: Scope) -> None:
    assert scope_needed(method, path) is scope


async def test_a_link_needs_no_token_and_making_one_needs_a_token_that_may_write(door: Door) -> None:
    anna, looker = await door.token("anna"), await door.token("ben", scopes=frozenset({Scope.READ}))
    asset_id = (await door.upload(anna)).json()["asset"]["id"]
    path = f"/api/assets/{asset_id}/share"
    assert (await door.client.post(path)).status_code == 401
    assert (await door.client.post(path, headers=bearer(looker))).status_code == 403
    link = (await door.client.post(path, headers=bearer(anna))).json()["shareUrl"]
    shown = await door.client.get(link)
    assert (shown.status_code, shown.json()["error"][:20]) == (404, "There is no thumbnai"), "known, though no picture"
    for beside in (f"{link}/../../api/assets", f"/s/../api/assets/{asset_id}"):
        assert (await door.client.get(beside)).status_code in (401, 404)


async def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(door: Door) -> None:
    token = await door.token("anna")
    assert (await door.get("/api/assets", token)).status_code == 200
    wrong = [await door.get("/api/assets", minted()[0]) for _ in range(GUESSES_MAX + 1)]
    assert [each.status_code for each in wrong] == [401] * GUESSES_MAX + [429]
    assert 1 <= int(wrong[-1].headers["retry-after"]) <= REFILL_S
    assert (await door.get("/api/assets", token)).status_code == 200
    assert (await door.get("/api/assets", minted()[0])).status_code == 429


async def test_where_tokens_cannot_be_looked_up_everybody_is_told_to_come_back(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the body is read before, so that a client that sends before it listens hears it."""
    token = await door.token("anna")

    async def token_of(token_id: str) -> None:
        raise Unreachable("The library's database cannot be reached")

    monkeypatch.setattr(door.accounts, "token", token_of)
    answer = await door.upload(token)
    assert (answer.status_code, answer.json()["success"]) == (503, False)
    assert int(answer.headers["retry-after"]) > 0
    assert "connection" not in answer.headers


async def test_the_last_use_of_a_token_is_noted_to_the_minute(door: Door) -> None:
    token = await door.token("anna")
    await door.get("/api/assets", token)
    [first] = await door.accounts.tokens()
    await door.get("/api/assets", token)
    [second] = await door.accounts.tokens()
    assert first.last_used_at_ms is not None
    assert first == second


async def test_a_socket_of_ones_own_needs_no_token_unless_told_to(config: Config, tmp_path: Path) -> None:
    async with served(replace(config, uds=tmp_path / "s")) as door:
        await door.token("anna")
        assert (await door.client.get("/api/assets")).status_code == 200
    async with served(replace(config, uds=tmp_path / "s", accounts=True)) as door:
        assert (await door.client.get("/api/assets")).status_code == 401


async def test_nothing_is_served_beyond_this_machine_before_somebody_has_a_token(config: Config) -> None:
    public = replace(config, host="0.0.0.0")
    with pytest.raises(ConfigError, match="nobody has a token yet"):
        async with served(public):
            pass
    async with served(config) as door:
        token = await door.token("anna")
    async with served(public) as door:
        assert (await door.get("/api/assets", token)).status_code == 200
        await door.accounts.remove_user("anna")
        assert (await door.client.get("/api/assets")).status_code == 401


def test_a_token_is_recognized_by_all_of_it() -> None:
    text, token_id = minted()
    token = Token(token_id, "u", "", digest_of(text), ALL, 0)
    assert id_of(text) == token_id
    assert is_same(token, digest_of(text))
    for place in range(len(text)):
        other = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        assert not is_same(token, digest_of(other))


def test_no_two_tokens_are_alike_and_all_have_the_form() -> None:
    made = {minted() for _ in range(1000)}
    assert len({token_id for _, token_id in made}) == len(made) == 1000
    assert all(id_of(text) == token_id for text, token_id in made)


@given(st.text(max_size=80))
def test_whatever_is_shown_has_a_digest_and_perhaps_an_id(text: str) -> None:
    token = shown(text.encode("utf-8", "surrogatepass").decode("latin-1"))
    assert len(digest_of(token)) == 32
    assert id_of(token) is None or id_of(token) in token


@pytest.mark.parametrize("words", [[], [""], ["read", "everything"]])
def test_scopes_must_be_known(words: list[str]) -> None:
    with pytest.raises(AccountError, match="allowed are read, write, admin"):
        scopes_of(words)


def test_guesses_come_back_with_time() -> None:
    now = [100.0]
    guesses = Guesses(lambda: now[0])
    for number in range(GUESSES_MAX):
        assert guesses.wait_s("192.0.2.1", "", bytes([number])) == 0.0
        guesses.wrong("192.0.2.1", "", bytes([number]))
    assert guesses.wait_s("192.0.2.1", "", b"new") == pytest.approx(REFILL_S)
    assert guesses.wait_s("192.0.2.2", "", b"new") == 0.0
    now[0] += REFILL_S
    assert guesses.wait_s("192.0.2.1", "", b"new") == 0.0


def test_the_same_wrong_token_again_is_no_new_guess() -> None:
    guesses = Guesses(lambda: 0.0)
    for _ in range(1000):
        assert guesses.wait_s("192.0.2.1", "id", b"old") == 0.0
        guesses.wrong("192.0.2.1", "id", b"old")
    assert guesses.wait_s("192.0.2.1", "id", b"new") == 0.0


def test_guesses_at_one_token_from_many_addresses_count_together() -> None:
    guesses = Guesses(lambda: 0.0)
    guesses.right("192.0.2.200", b"right")
    for number in range(GUESSES_MAX):
        guesses.wrong(f"192.0.2.{number}", "id", bytes([number]))
    assert guesses.wait_s("192.0.2.99", "id", b"new") > 0
    assert guesses.wait_s("192.0.2.99", "other", b"new") == 0.0
    assert guesses.wait_s("192.0.2.200", "id", b"right") == 0.0, "its owner is not locked out"


def test_one_customer_cannot_guess_from_each_of_his_many_addresses() -> None:
    guesses = Guesses(lambda: 0.0)
    for number in range(GUESSES_MAX):
        guesses.wrong(f"2001:db8::{number:x}", "", bytes([number]))
    assert guesses.wait_s("2001:db8::ffff:1", "", b"new") > 0
    assert guesses.wait_s("2001:db8:0:1::1", "", b"new") == 0.0


def test_what_is_remembered_of_guesses_has_a_bound() -> None:
    guesses = Guesses(lambda: 0.0)
    for number in range(REMEMBERED_MAX + 100):
        guesses.wrong(f"{number}", "", number.to_bytes(4))
    assert guesses.remembered <= 4 * REMEMBERED_MAX
    assert guesses.wait_s("0", "", b"new") == 0.0, "the first ones are forgotten"


async def test_no_route_gives_or_changes_what_another_user_has(door: Door) -> None:
    anna, ben = await door.token("anna"), await door.token("ben")
    asset = (await door.upload(anna)).json()["asset"]
    routes = [route for route in door.routes if "{id}" in route.path]
    assert len(routes) >= 8
    for route in routes:
        for method in route.methods or ():
            path = route.path.replace("{id}", asset["id"])
            answer = await door.client.request(method, path, json={"tagNames": ["x"]}, headers=bearer(ben))
            assert answer.status_code == 404, f"{method} {path}"
    kept = (await door.get(f"/api/assets/{asset['id']}", anna)).json()["asset"]
    assert (kept["favorite"], kept["tags"]) == (False, [])
