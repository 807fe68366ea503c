"""The commands as a user runs them: real processes, a real daemon, and a server that cannot be reached."""

import json
import os
import pty
import select
import signal
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from homes import Home, home_in

from splootd import __version__

NOBODY = "http://127.0.0.1:1"
PNG = b"\x89PNG\r\n\x1a\n"
LIMIT_S = 30


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose daemon is left running from test to test."""
    with home_in(tmp_path_factory.mktemp("home"), SPLOOT_SERVER=NOBODY) as home:
        yield home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=NOBODY) as home:
        yield home


def picture(home: Home, name: str) -> str:
    file = home.folder / name
    file.write_bytes(PNG + os.fsencode(name))
    return str(file)


# Starting and stopping.


def test_any_command_starts_the_daemon_and_the_next_one_finds_it(home: Home):
    assert home.daemon_pid() is None
    first = home.json("status")["daemon"]["pid"]
    assert first == home.daemon_pid() == home.json("status")["daemon"]["pid"]
    assert home.ok("daemon", "start") == "The daemon is running already.\n"
    assert home.ok("daemon", "stop") == "The daemon has ended.\n"
    assert home.ok("daemon", "stop") == "The daemon is not running.\n"
    assert home.ok("daemon", "start") == "The daemon has started.\n"
    before = home.daemon_pid()
    assert home.ok("daemon", "restart") == "The daemon has begun anew.\n"
    assert home.daemon_pid() != before


def test_commands_at_the_same_time_start_one_daemon(home: Home):
    together = [
        subprocess.Popen(home.command("status", "--json"), env=home.variables(), stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    pids = {json.loads(each.communicate(timeout=LIMIT_S)[0])["daemon"]["pid"] for each in together}
    assert pids == {home.daemon_pid()}


def test_a_killed_daemon_is_started_again_over_its_stale_socket(home: Home):
    home.ok("status")
    assert home.kill_daemon(signal.SIGKILL)
    assert home.json("status")["daemon"]["pid"] == home.daemon_pid()


def test_the_socket_is_private(shared: Home):
    shared.ok("status")
    path = shared.folder / "sploot" / "run" / "splootd.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_wrong_configuration_says_what_is_wrong_and_needs_the_user(home: Home):
    file = Path(home.ok("config", "path").strip())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("connections = 9\n")
    done = home.run("status")
    assert done.returncode == 4
    assert "`connections` to 9" in done.stderr
    assert "1 to 4" in done.stderr


def test_a_queue_of_a_newer_program_is_refused_untouched(home: Home):
    home.ok("daemon", "start")
    home.ok("daemon", "stop")
    queue = home.state / "queue.db"
    connection = sqlite3.connect(queue)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = queue.read_bytes()
    done = home.run("status")
    assert done.returncode == 3
    assert "was made by a newer version of Sploot (schema 99" in done.stderr
    assert str(home.state / "splootd.log") in done.stderr
    assert queue.read_bytes() == before


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    home = Home(tmp_path, {"SPLOOT_HOME": str(tmp_path / "file" / "below")})
    done = home.run("status")
    assert done.returncode == 3
    assert "Not a directory" in done.stderr


def test_a_daemon_of_another_version_is_noted(home: Home):
    run = home.folder / "sploot" / "run"
    run.mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(run / "splootd.sock"))
    listener.listen()
    asking = subprocess.Popen(
        home.command("pause"), env=home.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    listener.settimeout(LIMIT_S)
    peer, _ = listener.accept()
    peer.recv(65_536)
    peer.sendall(
        b'HTTP/1.1 200 OK\r\nSploot-Version: 9.9.9\r\nSploot-Api: 1.7\r\nContent-Length: 17\r\n\r\n{"message": "ok"}'
    )
    out, err = asking.communicate(timeout=LIMIT_S)
    assert out == "ok\n"
    assert "the daemon is version 9.9.9" in err
    assert "sploot daemon restart" in err
    peer.close()
    listener.close()


# Adding.


def test_an_added_file_is_there_in_every_view(shared: Home):
    path = picture(shared, "cat.png")
    assert shared.ok("add", "cat.png") == "Files: 1 queued.\n"
    (row,) = [row for row in shared.rows() if row["path"] == path]
    assert list(row) == [
        *("id", "path", "state", "priority", "shard", "size", "sha256", "asset_id", "attempts", "added_at"),
        *("updated_at", "next_at", "reason", "duplicate", "folder", "tags", "fault"),
    ]
    assert row["state"] in ("pending", "uploading")
    assert "cat.png" in shared.ok("list")
    assert f"item     {row['id']}" in shared.ok("why", "cat.png")
    assert shared.json("why", str(row["id"]))["item"]["path"] == path
    items = shared.json("status")["items"]
    assert items.pop("total") == sum(items.values())


def test_what_is_not_there_is_said_and_the_rest_is_queued(shared: Home):
    picture(shared, "there.png")
    done = shared.run("add", "nowhere.png", "there.png")
    assert done.returncode == 1
    assert "nowhere.png does not exist" in done.stderr
    assert "1 queued" in done.stdout


def test_a_list_comes_from_the_input(shared: Home):
    names = [picture(shared, f"list-{number}.png") for number in range(3)]
    done = shared.run("add", "--from", "-", stdin="\n".join(names).encode())
    assert (done.returncode, done.stdout) == (0, "Files: 3 queued.\n")
    nulled = shared.run("add", "--from", "-", "--null", stdin="\0".join(names).encode())
    assert nulled.stdout == "Files: 3 known already.\n"


def test_more_paths_than_one_request_takes_are_one_add(shared: Home):
    folder = shared.folder / "many"
    folder.mkdir()
    names = []
    for number in range(1_200):
        file = folder / f"{number}.png"
        file.write_bytes(PNG + str(number).encode())
        names.append(str(file))
    done = shared.run("add", "--from", "-", "--json", stdin="\n".join(names).encode())
    said = json.loads(done.stdout)
    assert said["counts"] == {"queued": 1_200}
    assert len(said["paths"]) == 1_200


def test_a_name_that_is_not_utf8_is_shown_safely_and_found(shared: Home):
    name = b"caf\xe9\n\x1b[31m.png"
    (shared.folder / os.fsdecode(name)).write_bytes(PNG + b"e")
    shared.ok("add", name)
    assert r"caf\xe9\n\x1b[31m.png" in shared.ok("list", "--limit", "5")
    row = json.loads(shared.ok("list", "--limit", "1", "--json"))
    assert os.fsencode(row["path"]).endswith(name)
    assert shared.json("why", name)["item"]["id"] == row["id"]


def test_a_dry_run_changes_nothing(shared: Home):
    picture(shared, "dry.png")
    before = shared.json("status")["items"]["total"]
    assert "Would be" in shared.ok("add", "--dry-run", "dry.png")
    assert shared.json("status")["items"]["total"] == before


def test_waiting_ends_when_the_time_is_up_and_the_daemon_goes_on(shared: Home):
    picture(shared, "slow.png")
    done = shared.run("add", "slow.png", "--wait", "--timeout", "1.2")
    assert done.returncode == 124
    assert "0 of 1 file" in done.stderr
    assert "0 errors" in done.stderr
    assert "The time is up. The daemon goes on" in done.stderr
    assert shared.daemon_pid()


def test_waiting_can_be_interrupted_and_the_daemon_goes_on(shared: Home):
    picture(shared, "patient.png")
    waiting = subprocess.Popen(
        shared.command("add", "patient.png", "--wait"),
        env=shared.variables(),
        cwd=shared.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    assert "0 of 1 file" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=LIMIT_S)
    assert waiting.returncode == 130
    assert "Interrupted. The daemon goes on" in err
    assert shared.daemon_pid()


def test_waiting_for_what_is_dropped_meanwhile_ends(home: Home):
    path = picture(home, "dropped.png")
    home.ok("pause")
    home.ok("add", path)
    waiting = subprocess.Popen(
        home.command("add", picture(home, "other.png"), "--wait"),
        env=home.variables(),
        cwd=home.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    assert "0 of 1 file" in waiting.stderr.readline()
    home.ok("forget", "other.png")
    out, _ = waiting.communicate(timeout=LIMIT_S)
    assert waiting.returncode == 0
    assert "1 file was skipped" in out


def test_waiting_goes_on_over_the_death_and_a_restart_of_the_daemon_and_ends_with_its_stop(home: Home):
    home.ok("pause")
    waiting = subprocess.Popen(
        home.command("add", picture(home, "a.png"), "--wait"),
        env=home.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    assert "0 of 1 file" in waiting.stderr.readline()
    assert home.kill_daemon(signal.SIGKILL)
    assert "0 of 1 file" in waiting.stderr.readline()
    assert "0 of 1 file" in waiting.stderr.readline()
    home.ok("daemon", "restart")
    assert "0 of 1 file" in waiting.stderr.readline()
    assert "0 of 1 file" in waiting.stderr.readline()
    home.ok("daemon", "stop")
    _, err = waiting.communicate(timeout=LIMIT_S)
    assert waiting.returncode == 3
    assert "the daemon was stopped; what is queued waits" in err
    assert home.ok("daemon", "stop") == "The daemon is not running.\n"


# Changing.


def test_forget_retry_and_bump(shared: Home):
    picture(shared, "toy.png")
    shared.ok("add", "toy.png")
    assert shared.ok("forget", "toy.png") == "1 file out of the queue.\n"
    row = shared.json("why", "toy.png")["item"]
    assert row["state"] == "skipped"
    assert shared.ok("retry", str(row["id"])) == "1 file back in the queue.\n"
    assert shared.json("why", "toy.png")["item"]["priority"] == "urgent"
    gone = shared.run("bump", "nowhere.png")
    assert gone.returncode == 1
    assert "nowhere.png is not in the queue" in gone.stderr


def test_a_pause_survives_a_restart(home: Home):
    home.ok("pause")
    home.ok("daemon", "restart")
    assert home.json("status")["daemon"]["state"] == "paused"
    home.ok("resume")
    assert home.json("status")["daemon"]["state"] == "running"


def test_a_folder_is_watched_until_it_is_let_go(shared: Home):
    folder = shared.folder / "watched"
    folder.mkdir()
    shared.ok("add", "watched")
    assert [row["path"] for row in shared.json("folders")] == [str(folder)]
    assert "watched" in shared.ok("folders")
    shared.ok("folders", "remove", "watched")
    assert shared.json("folders") == []
    assert shared.run("folders", "remove", "watched").returncode == 1


def test_a_setting_is_checked_kept_and_taken_up(home: Home):
    home.ok("status")
    before = home.daemon_pid()
    done = home.run("config", "set", "connections", "2")
    assert done.stdout == "connections is 2 now.\n"
    assert "begun anew" in done.stderr
    assert home.daemon_pid() != before
    assert home.ok("config", "get", "connections") == "2\n"
    rows = {row["key"]: row for row in home.json("config", "list")}
    assert (rows["connections"]["value"], rows["connections"]["source"]) == (2, "file")
    assert rows["server"]["source"] == "environment (SPLOOT_SERVER)"
    wrong = home.run("config", "set", "connections", "nine")
    assert wrong.returncode == 2
    assert "1 to 4" in wrong.stderr


def test_a_token_is_kept_and_never_shown(shared: Home):
    shared.run("login", "--token-stdin", stdin=b"very-secret-token\n")
    assert "very-secret-token" in (shared.state / "token").read_text()
    assert stat.S_IMODE((shared.state / "token").stat().st_mode) == 0o600
    assert "very-secret-token" not in shared.log() + shared.ok("status", "--json")
    shared.ok("logout")
    assert not (shared.state / "token").exists()


def test_nobody_is_asked_for_a_token_where_nobody_is(shared: Home):
    done = shared.run("login", stdin=b"")
    assert done.returncode == 2
    assert "--token-stdin" in done.stderr


# What comes out.


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("list", "--state", "failed"),
        ("add",),
        ("retry",),
        ("add", "--priority", "soon", "x"),
        ("config", "get", "nothing"),
        ("logs", "--level", "loud"),
        ("search", "--limit", "0", "x"),
        ("search", " "),
        ("add", "--timeout", "1", "x"),
        ("add", "--null", "x"),
        ("add", "--from", "/nowhere/list"),
    ],
)
def test_wrong_usage_is_told_with_a_hint_and_exit_code_2(shared: Home, arguments: tuple[str, ...]):
    done = shared.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_a_search_that_cannot_be_asked_is_an_error_with_a_sentence(shared: Home):
    done = shared.run("search", "cat")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")


def test_status_tells_scripts_whether_work_is_left(home: Home):
    assert home.run("status", "--exit-code").returncode == 0
    home.ok("add", picture(home, "a.png"))
    assert home.run("status", "--exit-code").returncode == 1


def test_the_short_way_to_the_status_says_the_same_as_the_long_one(shared: Home):
    short, long = shared.run("status"), shared.run("status", "--exit-code")
    assert [line.split()[0] for line in short.stdout.splitlines()] == [
        line.split()[0] for line in long.stdout.splitlines()
    ]
    assert short.returncode == 0


def test_output_is_plain_when_piped_and_coloured_on_a_terminal(shared: Home):
    assert "\x1b" not in shared.ok("status")
    assert "\x1b[32m" in on_a_terminal(shared, "status")
    assert "\x1b" not in on_a_terminal(Home(shared.folder, shared.environ | {"NO_COLOR": "1"}), "status")


def on_a_terminal(home: Home, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        home.command(*arguments),
        env=home.variables() | {"TERM": "xterm"},
        cwd=home.folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while select.select([ours], [], [], LIMIT_S)[0]:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # how Linux says that the other end of a terminal is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    assert running.wait(LIMIT_S) == 0
    return said.decode()


def test_a_reader_that_has_had_enough_is_no_error(shared: Home):
    picture(shared, "p.png")
    shared.ok("add", "p.png")
    listing = subprocess.Popen(
        shared.command("list", "--json"), env=shared.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    listing.stdout.close()
    assert listing.wait(LIMIT_S) == 141
    assert listing.stderr.read() == b""
    listing.stderr.close()


def test_closed_streams_are_no_error(shared: Home):
    shared.ok("status")
    command = " ".join(str(part) for part in shared.command("status"))
    done = subprocess.run(
        ["sh", "-c", f"{command} <&- >&-"], env=shared.variables(), stderr=subprocess.PIPE, check=False, timeout=LIMIT_S
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_error_about_a_name_cannot_command_the_terminal(shared: Home):
    done = shared.run("why", "\x1b[31mred\n.png")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert r"\x1b[31mred\n.png is not in the queue" in done.stderr


def test_the_log_is_readable(shared: Home):
    shared.ok("status")
    assert "daemon: started" in shared.ok("logs")
    assert "daemon: started" not in shared.ok("logs", "--level", "error")


def test_following_the_status_shows_news_as_they_come_over_a_restart_too(home: Home):
    home.ok("pause")
    following = subprocess.Popen(
        home.command("status", "--follow", "--json"),
        env=home.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert following.stdout is not None
    assert json.loads(following.stdout.readline())["items"]["total"] == 0
    home.ok("add", picture(home, "news.png"))
    shown = map(json.loads, following.stdout)  # other news redraw it, too
    before = next(each for each in shown if each["items"]["total"] == 1)
    home.ok("daemon", "restart")
    assert next(each for each in shown if each["daemon"]["pid"] != before["daemon"]["pid"])["items"]["total"] == 1
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=LIMIT_S)
    assert following.returncode == 130


def test_version_and_help_need_no_daemon(home: Home):
    assert home.ok("--version") == f"sploot {__version__}\n"
    assert "add" in home.ok("--help")
    assert "--wait" in home.ok("add", "--help")
    assert home.daemon_pid() is None
