"""What one person must not learn or see of another, and what a deleted picture must not show again."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sploot_server.admin import commands
from team_server import TeamServer, team_server


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    with team_server(tmp_path_factory.mktemp("team") / "library", kind=request.param) as server:
        yield server


def photo(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (90, 60), colour).save(data, "PNG")
    return data.getvalue()


def upload(server: TeamServer, member: str, data: bytes) -> str:
    with server.member(member) as client:
        return str(client.post("/api/upload", files={"file": ("a.png", data)}).json()["asset"]["id"])


def thumbnails(server: TeamServer) -> set[Path]:
    return {each for each in (server.process.data / "thumbnails").rglob("*") if each.is_file()}


def test_the_link_of_a_deleted_picture_stays_dead_when_its_bytes_come_again(server: TeamServer) -> None:
    asset_id = upload(server, "anna", photo("red"))
    with server.member("anna") as anna, server.stranger() as stranger:
        link = anna.post(f"/api/assets/{asset_id}/share").json()["shareUrl"]
        assert stranger.get(link).status_code == 200
        anna.delete(f"/api/assets/{asset_id}")
        assert stranger.get(link).status_code == 404
        assert upload(server, "anna", photo("red")) == asset_id, "it is restored"
        assert anna.get(f"/api/assets/{asset_id}").status_code == 200
        assert stranger.get(link).status_code == 404
        assert anna.post(f"/api/assets/{asset_id}/share").json()["shareUrl"] != link


def test_a_thumbnail_is_rendered_for_each_member_that_has_the_file(server: TeamServer) -> None:
    """A cached one would answer in a tenth of the time, and tell that somebody else has looked at the same file."""
    for member in ("anna", "ben"):
        asset_id = upload(server, member, photo("blue"))
        before = thumbnails(server)
        with server.member(member) as client:
            assert client.get(f"/api/assets/{asset_id}/thumbnail").status_code == 200
        assert len(thumbnails(server) - before) == 1, member


def test_a_share_link_does_not_tell_the_hash_of_the_original(server: TeamServer) -> None:
    asset_id = upload(server, "anna", photo("green"))
    with server.member("anna") as anna, server.stranger() as stranger:
        checksum = anna.get(f"/api/assets/{asset_id}/original").headers["etag"].strip('"')
        shown = stranger.get(anna.post(f"/api/assets/{asset_id}/share").json()["shareUrl"])
        assert shown.status_code == 200
        assert len(checksum) == 64
        assert checksum not in str(shown.headers)
        assert asset_id not in str(shown.headers)


@pytest.mark.parametrize("name", ["cat\u202egpj.png", "c\u200bat\ufeff.png", "\u2066cat.png"])
def test_a_file_name_cannot_show_itself_as_another(server: TeamServer, name: str) -> None:
    with server.member("anna") as anna:
        sent = anna.post("/api/upload", files={"file": (name, photo("#" + name.encode().hex()[:6]))})
        asset = anna.get(f"/api/assets/{sent.json()['asset']['id']}").json()["asset"]
    assert asset["filename"] in ("catgpj.png", "cat.png")


def test_names_in_an_export_cannot_command_the_terminal() -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        commands._print_line("out", "Not imported: missing\x1b[31m\u202e.gif\t1")
    assert out.getvalue() == "Not imported: missing\\x1b[31m\\u202e.gif\t1\n"
