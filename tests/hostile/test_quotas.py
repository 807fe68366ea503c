"""What one member can store, and what is left of the disk for the others."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sploot_server.admin.commands import build_parser
from sploot_server.config import Config
from sploot_server.domain.byte_sizes import format_bytes, parse_bytes
from sploot_server.http.tus.headers import CONTENT_TYPE
from sploot_server.http.tus.upload_store import FINISHED_PER_OWNER_MAX, UploadStore
from team_server import TeamServer, team_server
from toy_library import picture


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    folder = tmp_path_factory.mktemp("team")
    with team_server(folder / "library", "--upload-dir", str(folder / "uploads"), kind=request.param) as server:
        yield server


def sized_picture(name: str, size_bytes: int) -> bytes:
    """Return a JPEG of exactly this size, different for each name."""
    return picture(name).ljust(size_bytes, b"\0")


def upload(server: TeamServer, member: str, data: bytes) -> tuple[int, dict[str, str]]:
    with server.member(member) as client:
        answer = client.post("/api/upload", files={"file": ("a.jpg", data)})
    return answer.status_code, answer.json()


def listed(server: TeamServer) -> dict[str, list[str]]:
    """Return the fields of `user list` by name, without the date and without whether they are an admin."""
    header, *lines = [line.split("\t") for line in server.admin("user", "list").stdout.splitlines()]
    assert header == ["NAME", "ADDED", "FILES", "BYTES", "ADMIN"]
    return {fields[0]: fields[2:-1] for fields in lines}


def test_user_list_shows_the_files_and_bytes_of_each_member(server: TeamServer) -> None:
    upload(server, "anna", sized_picture("a", 600_000))
    upload(server, "anna", sized_picture("b", 900_000))
    assert listed(server) == {"anna": ["2 files", "1.5 MB"], "ben": ["0 files", "0 bytes"]}
    with server.member("anna") as anna:
        assets = anna.get("/api/assets").json()["assets"]
        anna.delete(f"/api/assets/{assets[0]['id']}")
        assert listed(server)["anna"] == ["2 files", "1.5 MB"], "a deleted file still takes space"
        for asset in assets:
            anna.delete(f"/api/assets/{asset['id']}", params={"permanent": "true"})
    assert listed(server)["anna"] == ["0 files", "0 bytes"]


def set_quota(server: TeamServer, member: str, size: str) -> None:
    assert server.admin("user", "quota", member, size).returncode == 0


def begin(server: TeamServer, member: str, length: int) -> tuple[int, str]:
    """Create a resumable upload; return the status and its address, or the body of an error."""
    with server.member(member) as client:
        answer = client.post("/api/upload/resumable", headers={"tus-resumable": "1.0.0", "upload-length": str(length)})
    return answer.status_code, answer.headers.get("location", answer.text)


def test_over_the_quota_an_upload_gets_507_that_says_what_is_used_and_what_to_do(server: TeamServer) -> None:
    set_quota(server, "anna", "1MB")
    assert upload(server, "anna", sized_picture("a", 600_000))[0] == 201
    status, refused = upload(server, "anna", sized_picture("b", 500_000))
    assert status == 507
    assert refused["error"] == (
        "Your quota of 1.0 MB has no room for 500 kB: 600 kB are used, deleted files and unfinished uploads included. "
        "Remove files permanently, or ask the operator for a larger quota"
    )
    assert listed(server) == {"anna": ["1 file", "600 kB of 1.0 MB"], "ben": ["0 files", "0 bytes"]}
    assert upload(server, "anna", sized_picture("a", 600_000))[0] == 409, "what is there takes no more space"
    assert upload(server, "ben", sized_picture("b", 500_000))[0] == 201, "the quota is of one member"
    assert upload(server, "anna", sized_picture("c", 400_000))[0] == 201, "it can be used to the last byte"
    set_quota(server, "anna", "none")
    assert upload(server, "anna", sized_picture("b", 500_000))[0] == 201


def test_permanent_removal_makes_room_in_a_quota_and_a_deleted_file_can_be_restored(server: TeamServer) -> None:
    set_quota(server, "anna", "1MB")
    asset_id = upload(server, "anna", sized_picture("a", 900_000))[1]["asset"]["id"]
    with server.member("anna") as anna:
        anna.delete(f"/api/assets/{asset_id}")
        assert upload(server, "anna", sized_picture("b", 900_000))[0] == 507
        assert upload(server, "anna", sized_picture("a", 900_000))[0] == 201, "it is restored"
        anna.delete(f"/api/assets/{asset_id}", params={"permanent": "true"})
    assert upload(server, "anna", sized_picture("b", 900_000))[0] == 201


def test_files_sent_at_once_do_not_exceed_a_quota_together(server: TeamServer) -> None:
    set_quota(server, "anna", "100kB")
    files = [("file", (f"{n}.jpg", sized_picture(str(n), 30_000))) for n in range(10)]
    with server.member("anna") as anna:
        results = anna.post("/api/upload/bundle", files=files).json()["results"]
    assert sorted(each["status"] for each in results) == [201] * 3 + [507] * 7
    with ThreadPoolExecutor(8) as threads:
        sent = [threads.submit(upload, server, "anna", sized_picture(f"x{n}", 9_000)) for n in range(8)]
    assert sorted(each.result()[0] for each in sent) == [201] + [507] * 7
    assert listed(server)["anna"] == ["4 files", "99.0 kB of 100 kB"]


def test_unfinished_resumable_uploads_count_in_a_quota(server: TeamServer) -> None:
    set_quota(server, "anna", "1MB")
    created = [begin(server, "anna", 300_000) for _ in range(4)]
    assert [status for status, _ in created] == [201, 201, 201, 507]
    assert "Your quota of 1.0 MB has no room for 300 kB: 900 kB are used" in created[3][1]
    with server.member("anna") as anna:
        assert anna.delete(created[0][1], headers={"tus-resumable": "1.0.0"}).status_code == 204
    assert begin(server, "anna", 300_000)[0] == 201
    assert begin(server, "ben", 300_000)[0] == 201


def test_the_metrics_show_what_each_member_stores_and_how_often_a_quota_refused(server: TeamServer) -> None:
    set_quota(server, "anna", "1MB")
    assert upload(server, "anna", sized_picture("a", 600_000))[0] == 201
    assert upload(server, "anna", sized_picture("b", 500_000))[0] == 507
    assert begin(server, "anna", 500_000)[0] == 507
    with server.member("anna") as anna:
        files = [("file", ("b.jpg", sized_picture("b", 500_000)))]
        assert anna.post("/api/upload/bundle", files=files).json()["results"][0]["status"] == 507
        shown = anna.get("/metrics").text.splitlines()
    assert {
        'sploot_server_user_stored_bytes{user="anna"} 600000.0',
        'sploot_server_user_stored_bytes{user="ben"} 0.0',
        'sploot_server_user_quota_bytes{user="anna"} 1e+06',
        'sploot_server_limit_hits_total{limit="quota"} 3.0',
        'sploot_server_limit_hits_total{limit="disk_reserve"} 0.0',
    } <= set(shown)
    assert not any(line.startswith('sploot_server_user_quota_bytes{user="ben"}') for line in shown)


def test_the_outcomes_of_finished_resumable_uploads_are_bounded_per_member(tmp_path: Path) -> None:
    """The newest are kept, and those of others; also over a restart, which finds them on disk."""
    data, uploads = tmp_path / "library", tmp_path / "uploads"
    sent, headers = [], {"tus-resumable": "1.0.0", "content-type": CONTENT_TYPE}
    with team_server(data, "--upload-dir", str(uploads)) as server:
        for member, count in (("ben", 1), ("anna", FINISHED_PER_OWNER_MAX + 5)):
            with server.member(member) as client:
                for number in range(count):
                    body = sized_picture(f"{member}{number}", 100)
                    answer = client.post(
                        "/api/upload/resumable", headers={**headers, "upload-length": "100"}, content=body
                    )
                    assert (answer.status_code, answer.headers["sploot-duplicate"]) == (201, "false")
                    sent.append(answer.headers["location"])
        kept = {each.stem for each in uploads.glob("*.state")}
    assert kept == {each.rpartition("/")[2] for each in (sent[0], *sent[-FINISHED_PER_OWNER_MAX:])}
    more = UploadStore(uploads)
    more.open()
    assert {each.stem for each in uploads.glob("*.state")} == kept


def test_while_the_disk_reserve_is_not_free_every_upload_gets_507_and_the_rest_works(tmp_path: Path) -> None:
    with team_server(tmp_path / "library", "--disk-reserve", "999TB") as server:
        status, refused = upload(server, "anna", sized_picture("a", 600_000))
        assert status == 507
        assert "and 999 TB are kept in reserve. Ask the operator to free space, and try again" in refused["error"]
        assert begin(server, "anna", 300_000)[0] == 507
        with server.member("anna") as anna:
            bundle = anna.post("/api/upload/bundle", files={"file": ("a.jpg", sized_picture("a", 600_000))})
            assert bundle.status_code == 507
            assert anna.get("/api/assets").json()["assets"] == []


def test_only_a_shared_server_has_a_disk_reserve_by_default(tmp_path: Path) -> None:
    assert Config(data=tmp_path, uds=tmp_path / "s").disk_reserve == 0
    assert Config(data=tmp_path, uds=tmp_path / "s", accounts=True).disk_reserve == 1_000_000_000
    assert Config(data=tmp_path, host="0.0.0.0").disk_reserve == 1_000_000_000
    assert Config(data=tmp_path, host="0.0.0.0", disk_reserve_bytes=0).disk_reserve == 0


@pytest.mark.parametrize("size", ["much", "-1", "1.5.0GB", ""])
def test_a_quota_that_is_no_size_is_refused_with_an_example(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["user", "quota", "--data", "x", "--", "anna", size])
    assert "is not a size such as 500MB or 20GB, or none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size_bytes", "shown"),
    [("0", 0, "0 bytes"), ("1", 1, "1 byte"), ("1.5 GB", 1_500_000_000, "1.5 GB"), ("999.96kb", 999_960, "1.0 MB")],
)
def test_sizes_are_read_and_shown_in_decimal_units(text: str, size_bytes: int, shown: str) -> None:
    assert (parse_bytes(text), format_bytes(size_bytes)) == (size_bytes, shown)
