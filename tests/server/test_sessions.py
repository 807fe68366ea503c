"""Sessions of browsers: the store in both databases, and the threats of a cookie on a real server."""

import http.client
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import postgres
import pytest
from sploot_server.auth.accounts import AccountStore, Scope, Token, User
from sploot_server.auth.rate_limit import BURST_MAX
from sploot_server.auth.sessions import DAY_MS, SESSION_IDLE_MS, SessionStore
from sploot_server.auth.tokens import hash_token, mint_token, parse_token_id
from sploot_server.domain.entities import NotFound
from sploot_server.http.routes.admin import AdminRoutes
from sploot_server.library.service import now_ms
from sploot_server.storage.postgres.database import PostgresDatabase
from sploot_server.storage.shares import ShareStore
from sploot_server.storage.sqlite.database import Database
from starlette.requests import Request
from team_server import TeamServer, team_server

NOW = 1_000 * DAY_MS
MEMES = Path(__file__).parents[2] / "examples" / "memes"


@dataclass
class Stores:
    accounts: AccountStore
    sessions: SessionStore
    shares: ShareStore


@pytest.fixture(params=["sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    database: Any
    if request.param == "sqlite":
        database = Database(tmp_path / "library.db")
        database.open()
    else:
        database = PostgresDatabase(await postgres.empty_database())
        await database.open()
    stores = Stores(AccountStore(database), SessionStore(database), ShareStore(database))
    await stores.accounts.add_user(User("u", "Änna", 1))
    yield stores
    await database.close()


def id_of(secret: str) -> str:
    session_id = parse_token_id(secret)
    assert session_id is not None
    return session_id


async def test_an_invitation_works_once_and_until_it_expires(stores: Stores) -> None:
    used, late = [await stores.sessions.invite("u", now_ms=NOW, ttl_ms=DAY_MS) for _ in range(2)]
    assert await stores.sessions.redeem(id_of(used), hash_token(late), now_ms=NOW) is None, "the secret counts"
    assert await stores.sessions.redeem(id_of(used), hash_token(used), now_ms=NOW) == "u"
    assert await stores.sessions.redeem(id_of(used), hash_token(used), now_ms=NOW) is None
    assert await stores.sessions.redeem(id_of(late), hash_token(late), now_ms=NOW + DAY_MS) is None


async def test_unused_invitations_are_listed_and_revoked(stores: Stores) -> None:
    first, second = [await stores.sessions.invite("u", now_ms=NOW, ttl_ms=DAY_MS * days) for days in (1, 2)]
    listed = await stores.sessions.list_invitations(now_ms=NOW)
    assert [(each.id, each.user_name) for each in listed] == [(id_of(first), "Änna"), (id_of(second), "Änna")]
    assert [each.id for each in await stores.sessions.list_invitations(now_ms=NOW + DAY_MS)] == [id_of(second)]
    assert await stores.sessions.revoke_invitation(id_of(second))
    assert not await stores.sessions.revoke_invitation(id_of(second))
    assert await stores.sessions.redeem(id_of(second), hash_token(second), now_ms=NOW) is None


async def test_only_an_admin_sees_members_and_revokes_their_invitations(stores: Stores) -> None:
    await stores.accounts.add_user(User("b", "Ben", 1))
    cookies = [await stores.sessions.begin(user, None, user_agent="", now_ms=NOW) for user in ("u", "b")]
    invitation = await stores.sessions.invite("b", now_ms=now_ms(), ttl_ms=DAY_MS)
    routes = AdminRoutes(stores.accounts, stores.sessions, stores.shares)

    async def call(handler: Any, cookie: str | None, **path: str) -> Any:
        session = None if cookie is None else await stores.sessions.get(id_of(cookie), now_ms=NOW)
        request = Request({"type": "http", "headers": [], "path_params": path, "state": {"session": session}})
        return json.loads((await handler(request)).body)

    await stores.accounts.set_admin("u", is_admin=True)
    admin, member = cookies
    for cookie in (member, None):
        for handler in (routes.overview, routes.invite, routes.revoke_invitation, routes.revoke_link):
            with pytest.raises(NotFound):
                await call(handler, cookie, id=id_of(invitation), slug="x")
    seen = await call(routes.overview, admin)
    assert [(each["name"], each["bytes"]) for each in seen["members"]] == [("Ben", 0), ("Änna", 0)]
    assert [(each["id"], each["member"]) for each in seen["invitations"]] == [(id_of(invitation), "Ben")]
    await call(routes.revoke_invitation, admin, id=id_of(invitation))
    assert (await call(routes.overview, admin))["invitations"] == []
    await stores.accounts.set_admin("u", is_admin=False)
    with pytest.raises(NotFound):
        await call(routes.overview, admin)


async def test_a_session_ends_unused_or_by_its_user_or_with_its_user(stores: Stores) -> None:
    sessions = stores.sessions
    idle, used, ended = [await sessions.begin("u", None, user_agent="Phone", now_ms=NOW) for _ in range(3)]
    await sessions.record_use(id_of(used), now_ms=NOW + DAY_MS)
    assert await sessions.end("u", id_of(ended)) == 1
    assert await sessions.end("other", id_of(used)) == 0, "a user ends their own sessions only"
    assert await sessions.get(id_of(idle), now_ms=NOW + SESSION_IDLE_MS) is None
    [alive] = await sessions.list_of_user("u", now_ms=NOW + SESSION_IDLE_MS)
    assert (alive.id, alive.user_name, alive.user_agent) == (id_of(used), "Änna", "Phone")
    assert await sessions.end("u") == 2
    again = await sessions.begin("u", None, user_agent="", now_ms=NOW)
    await stores.accounts.remove_user("u")
    assert await sessions.get(id_of(again), now_ms=NOW) is None


async def test_a_session_has_the_scopes_of_its_token_and_ends_with_it(stores: Stores) -> None:
    text, token_id = mint_token()
    scopes = frozenset({Scope.READ, Scope.ADMIN})
    token = Token(token_id, "u", "", hash_token(text), scopes, NOW, NOW + DAY_MS)
    await stores.accounts.add_token(token)
    secret = await stores.sessions.begin("u", token, user_agent="", now_ms=NOW)
    session = await stores.sessions.get(id_of(secret), now_ms=NOW)
    assert session is not None
    assert session.scopes == {Scope.READ}, "a browser has no use for the scope admin"
    assert await stores.sessions.get(id_of(secret), now_ms=NOW + DAY_MS) is None, "the token has expired"
    await stores.accounts.revoke_token(token_id, now_ms=NOW)
    assert await stores.sessions.get(id_of(secret), now_ms=NOW) is None


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    with team_server(tmp_path_factory.mktemp("sessions") / "library") as server:
        yield server


class Browser:
    """A client that behaves like the page in a browser: it keeps cookies and sends the header of a change."""

    def __init__(self, team: TeamServer) -> None:
        self.origin = team.process.address
        headers = {"origin": self.origin, "x-sploot-ui": "1", "sec-fetch-site": "same-origin"}
        self.client = httpx.Client(base_url=self.origin, headers=headers, timeout=60)

    def sign_in(self, secret: str) -> httpx.Response:
        return self.client.post("/v1/session", json={"secret": secret})


def signed_in(team: TeamServer, name: str) -> Browser:
    browser = Browser(team)
    assert browser.sign_in(team.tokens[name]).json() == {"member": {"name": name}}
    return browser


def upload(browser: Browser) -> str:
    files = {"file": ("cat.jpg", (MEMES / "meme-7-0000.jpg").read_bytes(), "image/jpeg")}
    return str(browser.client.post("/api/upload", files=files).json()["asset"]["id"])


def test_a_token_is_exchanged_for_a_cookie_that_scripts_and_other_sites_cannot_use(team: TeamServer) -> None:
    browser = Browser(team)
    assert browser.client.get("/v1/session").status_code == 401
    cookie = browser.sign_in(team.tokens["anna"]).headers["set-cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith(f"sploot_{team.port}=sploot_")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert "Secure" not in attributes, "the browser would not send it over http"
    assert browser.client.get("/v1/session").json() == {"member": {"name": "anna"}}
    assert browser.client.get("/v1/library").json()["total"] >= 0


def test_behind_tls_the_cookie_belongs_to_this_host_alone(tmp_path: Path) -> None:
    with team_server(tmp_path / "library", "--trusted-proxies", "127.0.0.1", members=["anna"]) as team:
        browser = Browser(team)
        browser.client.headers.update({"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.7"})
        cookie = browser.sign_in(team.tokens["anna"]).headers["set-cookie"]
        assert cookie.startswith("__Host-sploot=")
        assert cookie.endswith("; Secure")


def test_an_invitation_of_the_operator_adds_a_user_and_signs_in_one_browser(team: TeamServer) -> None:
    invited = team.admin("user", "invite", "Zoë", "--url", "https://memes.example/")
    link, _, secret = invited.stdout.strip().partition("#invitation=")
    assert (link, invited.returncode) == ("https://memes.example/", 0)
    assert Browser(team).sign_in(secret).json() == {"member": {"name": "Zoë"}}
    assert Browser(team).sign_in(secret).status_code == 401, "it is used up"
    unused = team.admin("user", "invite", "Zoë").stdout.strip()
    invitation_id = id_of(unused.rpartition("=")[2])
    assert f"{invitation_id}\tZoë\t" in team.admin("invitation", "list").stdout
    assert team.admin("invitation", "revoke", unused).stderr == f"Revoked invitation {invitation_id}.\n"
    assert Browser(team).sign_in(unused.rpartition("=")[2]).status_code == 401
    again = team.admin("invitation", "revoke", invitation_id)
    assert (again.returncode, "`sploot-server invitation list" in again.stderr) == (1, True)
    assert "Signed Zoë out of 1 browser." in team.admin("user", "sign-out", "zoë").stderr


def test_an_admin_revokes_the_link_of_a_member_in_the_page(team: TeamServer) -> None:
    anna, ben = signed_in(team, "anna"), signed_in(team, "ben")
    url = anna.client.post(f"/v1/library/{upload(anna)}/share", json={}).json()["url"]
    assert ben.client.get("/v1/admin").status_code == 404
    assert "ben is an admin of the page." in team.admin("user", "admin", "ben").stderr
    lines = team.admin("user", "list").stdout.splitlines()[1:]
    assert {line.split("\t")[0]: line.split("\t")[-1] for line in lines}["ben"] == "yes"
    assert ben.client.get("/v1/sessions").json()["is_admin"] is True
    seen = ben.client.get("/v1/admin").json()
    assert {each["name"]: each["bytes"] > 0 for each in seen["members"]}["anna"]
    [slug] = [each["slug"] for each in seen["links"] if url.endswith(each["slug"])]
    assert anna.client.delete(f"/v1/admin/links/{slug}").status_code == 404
    assert ben.client.delete(f"/v1/admin/links/{slug}").status_code == 200
    assert ben.client.get(url).status_code == 404
    secret = ben.client.post("/v1/admin/invitations", json={"name": "anna"}).json()["secret"]
    assert Browser(team).sign_in(secret).json() == {"member": {"name": "anna"}}
    team.admin("user", "admin", "ben", "--revoke")
    assert ben.client.get("/v1/admin").status_code == 404


def test_a_member_lists_and_ends_their_sessions_and_invites_their_other_device(team: TeamServer) -> None:
    laptop = signed_in(team, "ben")
    phone = Browser(team)
    phone.client.headers["user-agent"] = "Phone"
    secret = laptop.client.post("/v1/invitations").json()["secret"]
    assert phone.sign_in(secret).json() == {"member": {"name": "ben"}}
    sessions = laptop.client.get("/v1/sessions").json()["sessions"]
    assert {each["user_agent"]: each["is_this"] for each in sessions}.get("Phone") is False
    [lost] = [each["id"] for each in sessions if each["user_agent"] == "Phone"]
    assert signed_in(team, "anna").client.delete(f"/v1/sessions/{lost}").status_code == 404, "another member's"
    assert laptop.client.delete(f"/v1/sessions/{lost}").json() == {"ended": 1}
    assert phone.client.get("/v1/session").status_code == 401
    other = signed_in(team, "ben")
    assert laptop.client.delete("/v1/session").json() == {"ended": 1}
    assert other.client.delete("/v1/sessions").json()["ended"] >= 1, "sign out everywhere"
    assert [each.client.get("/v1/session").status_code for each in (laptop, other)] == [401, 401]
    assert not laptop.client.cookies, "the browser has forgotten the cookie"


@pytest.mark.parametrize(
    "changed",
    [
        {"x-sploot-ui": None},
        {"origin": None},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=lambda changed: "-".join(f"{name}-{value}" for name, value in changed.items()),
)
def test_a_page_of_another_site_changes_nothing_with_the_cookie(team: TeamServer, changed: dict[str, Any]) -> None:
    browser = signed_in(team, "anna")
    asset_id = upload(browser)
    for name, value in changed.items():
        browser.client.headers.pop(name)
        if value is not None:
            browser.client.headers[name] = value
    for method, path in (
        ("DELETE", f"/v1/library/{asset_id}"),
        ("POST", "/v1/library/changes"),
        ("POST", "/api/upload"),
    ):
        assert browser.client.request(method, path, json={"ids": [asset_id], "delete": True}).status_code == 403
    assert browser.sign_in(team.tokens["ben"]).status_code in (400, 403) or "sec-fetch-site" in changed
    assert signed_in(team, "anna").client.get(f"/v1/library/{asset_id}").status_code == 200


def test_another_site_reads_nothing_with_the_cookie(team: TeamServer) -> None:
    browser = signed_in(team, "anna")
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        answer = browser.client.get("/v1/library", headers=headers)
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (403, False)


def test_wrong_guesses_at_sessions_and_invitations_are_limited_as_tokens_are(team: TeamServer) -> None:
    """From an address of its own: the guesses of this test must not delay the other tests."""
    connection = http.client.HTTPConnection("127.0.0.1", team.port, source_address=("127.0.0.77", 0))
    statuses = []
    for number in range(BURST_MAX + 2):
        secret = mint_token()[0]
        if number % 2:
            connection.request("GET", "/v1/library", headers={"cookie": f"sploot_{team.port}={secret}"})
        else:
            body = json.dumps({"secret": secret})
            headers = {"origin": team.process.address, "x-sploot-ui": "1", "host": f"127.0.0.1:{team.port}"}
            connection.request("POST", "/v1/session", body, headers)
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    assert statuses == [401] * BURST_MAX + [429, 429]


def test_the_page_and_its_files_are_public_and_cannot_be_embedded(team: TeamServer) -> None:
    with team.stranger() as stranger:
        page = stranger.get("/")
        policy = page.headers["content-security-policy"]
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert (page.headers["x-frame-options"], page.headers["referrer-policy"]) == ("DENY", "no-referrer")
        assert "set-cookie" not in page.headers
        icon = stranger.get("/static/ui/icon.svg")
        assert (icon.headers["content-type"], icon.headers["content-security-policy"]) == ("image/svg+xml", policy)
        again = stranger.get("/static/ui/icon.svg", headers={"if-none-match": icon.headers["etag"]})
        assert again.status_code == 304


@pytest.mark.parametrize(
    "name",
    ["../__init__.py", "%2e%2e/__init__.py", "ui/../__init__.py", "/etc/passwd", "daemon/app.js", "ui", "ui/", ""],
)
def test_no_path_name_leads_out_of_the_files_of_the_page(team: TeamServer, name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", team.port)
    connection.request("GET", f"/static/{name}")  # http.client sends the path as it is
    assert connection.getresponse().status in (401, 404)


def test_a_session_without_the_scope_of_a_request_is_refused(team: TeamServer) -> None:
    token = team.admin("token", "create", "anna", "--scopes", "read,admin").stdout.strip()
    reader = Browser(team)
    assert reader.sign_in(token).status_code == 200
    assert reader.client.get("/v1/library").status_code == 200
    assert reader.client.post("/v1/library/changes", json={"ids": ["x"]}).status_code == 403
    assert reader.client.get("/metrics").status_code == 403
