"""The commands as processes, with a real daemon and an unreachable server."""

import json
import os
import pty
import select
import signal
import socket
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sploot.frozen_process import CGROUP_MOUNTS
from temp_home import Home, home_in

from splootd import __version__

UNREACHABLE = "http://127.0.0.1:1"
PNG = b"\x89PNG\r\n\x1a\n"
TIMEOUT_S = 30


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose daemon keeps running between tests."""
    with home_in(tmp_path_factory.mktemp("home"), SPLOOT_SERVER=UNREACHABLE) as home:
        yield home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=UNREACHABLE) as home:
        yield home


def picture(home: Home, name: str) -> str:
    file = home.folder / name
    file.write_bytes(PNG + os.fsencode(name))
    return str(file)


# Start and stop.


def test_any_command_starts_the_daemon_and_the_next_one_uses_it(home: Home):
    assert home.daemon_pid() is None
    first = home.json("status")["daemon"]["pid"]
    assert first == home.daemon_pid() == home.json("status")["daemon"]["pid"]
    assert home.ok("daemon", "start") == "The daemon is already running.\n"
    assert home.ok("daemon", "stop") == "The daemon stopped.\n"
    assert home.ok("daemon", "stop") == "The daemon is not running.\n"
    assert home.ok("daemon", "start") == "The daemon started.\n"
    before = home.daemon_pid()
    assert home.ok("daemon", "restart") == "The daemon restarted.\n"
    assert home.daemon_pid() != before


def test_commands_at_the_same_time_start_one_daemon(home: Home):
    together = [
        subprocess.Popen(home.command("status", "--json"), env=home.variables(), stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    pids = {json.loads(each.communicate(timeout=TIMEOUT_S)[0])["daemon"]["pid"] for each in together}
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


def test_an_invalid_configuration_is_reported_with_exit_code_4(home: Home):
    file = Path(home.ok("config", "path").strip())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("connections = 9\n")
    done = home.run("status")
    assert done.returncode == 4
    assert "`connections` to 9" in done.stderr
    assert "1 to 4" in done.stderr


def test_a_queue_of_a_newer_version_is_rejected_and_not_changed(home: Home):
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


def test_an_unwritable_home_is_reported(tmp_path: Path):
    (tmp_path / "file").write_text("")
    home = Home(tmp_path, {"SPLOOT_HOME": str(tmp_path / "file" / "below")})
    done = home.run("status")
    assert done.returncode == 3
    assert "Not a directory" in done.stderr


def test_a_daemon_of_another_version_is_reported(home: Home):
    run = home.folder / "sploot" / "run"
    run.mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(run / "splootd.sock"))
    listener.listen()
    command = subprocess.Popen(
        home.command("pause"), env=home.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    listener.settimeout(TIMEOUT_S)
    peer, _ = listener.accept()
    peer.recv(65_536)
    peer.sendall(
        b'HTTP/1.1 200 OK\r\nSploot-Version: 9.9.9\r\nSploot-Api: 1.7\r\nContent-Length: 17\r\n\r\n{"message": "ok"}'
    )
    out, err = command.communicate(timeout=TIMEOUT_S)
    assert out == "ok\n"
    assert "the daemon is version 9.9.9" in err
    assert "sploot daemon restart" in err
    peer.close()
    listener.close()


# Add.


def test_an_added_file_appears_in_every_command(shared: Home):
    path = picture(shared, "cat.png")
    assert shared.ok("add", "cat.png") == "Added 1 file.\n"
    (row,) = [row for row in shared.rows() if row["path"] == path]
    assert list(row) == [
        *("id", "path", "state", "priority", "shard", "size", "sha256", "asset_id", "attempts", "added_at"),
        *("updated_at", "next_at", "error_message", "duplicate", "folder", "tags", "error_code", "remedy", "can_retry"),
    ]
    assert row["state"] in ("pending", "uploading")
    assert "cat.png" in shared.ok("list")
    assert f"item     {row['id']}" in shared.ok("why", "cat.png")
    assert shared.json("why", str(row["id"]))["item"]["path"] == path
    items = shared.json("status")["items"]
    assert items.pop("total") == sum(items.values())


def test_a_missing_path_is_reported_and_the_others_are_queued(shared: Home):
    picture(shared, "there.png")
    done = shared.run("add", "nowhere.png", "there.png")
    assert done.returncode == 1
    assert "nowhere.png does not exist" in done.stderr
    assert "Added 1 file." in done.stdout


def test_paths_are_read_from_standard_input(shared: Home):
    names = [picture(shared, f"list-{number}.png") for number in range(3)]
    done = shared.run("add", "--from", "-", stdin="\n".join(names).encode())
    assert (done.returncode, done.stdout) == (0, "Added 3 files.\n")
    nulled = shared.run("add", "--from", "-", "--null", stdin="\0".join(names).encode())
    assert nulled.stdout == "Nothing new: all 3 files are already in the queue or the library.\n"


def test_more_paths_than_one_request_takes_are_one_import(shared: Home):
    folder = shared.folder / "many"
    folder.mkdir()
    names = []
    for number in range(1_200):
        file = folder / f"{number}.png"
        file.write_bytes(PNG + str(number).encode())
        names.append(str(file))
    done = shared.run("add", "--from", "-", "--json", stdin="\n".join(names).encode())
    output = json.loads(done.stdout)
    assert output["counts"] == {"queued": 1_200}
    assert len(output["paths"]) == 1_200


def test_a_name_that_is_not_utf8_is_shown_safely_and_found(shared: Home):
    name = b"caf\xe9\n\x1b[31m.png"
    (shared.folder / os.fsdecode(name)).write_bytes(PNG + b"e")
    shared.ok("add", name)
    assert r"caf\xe9\n\x1b[31m.png" in shared.ok("list", "--limit", "5")
    (row,) = shared.json("list", "--limit", "1")
    assert json.loads(shared.ok("list", "--limit", "1", "--json-lines")) == row
    assert os.fsencode(row["path"]).endswith(name)
    assert shared.json("why", name)["item"]["id"] == row["id"]


def test_a_dry_run_changes_nothing(shared: Home):
    picture(shared, "dry.png")
    before = shared.json("status")["items"]["total"]
    assert "Dry run: 1 file would be added." in shared.ok("add", "--dry-run", "dry.png")
    assert shared.json("status")["items"]["total"] == before


def test_wait_ends_after_its_timeout_and_the_daemon_continues(shared: Home):
    picture(shared, "slow.png")
    done = shared.run("add", "slow.png", "--wait", "--timeout", "1.2")
    assert done.returncode == 124
    assert "sent 0 of 1, searchable 0 of 1" in done.stderr
    assert "Timed out after 1 s. Uploading continues in the background" in done.stderr
    assert shared.daemon_pid()


def test_wait_can_be_interrupted_and_the_daemon_continues(shared: Home):
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
    assert "sent 0 of 1, searchable 0 of 1" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=TIMEOUT_S)
    assert waiting.returncode == 130
    assert "Interrupted. Uploading continues in the background" in err
    assert shared.daemon_pid()


def test_wait_ends_when_its_file_is_removed_from_the_queue(home: Home):
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
    assert "sent 0 of 1, searchable 0 of 1" in waiting.stderr.readline()
    home.ok("forget", "other.png")
    out, _ = waiting.communicate(timeout=TIMEOUT_S)
    assert waiting.returncode == 0
    assert "1 file was skipped" in out


def test_wait_survives_a_crash_and_a_restart_of_the_daemon_and_ends_when_it_is_stopped(home: Home):
    home.ok("pause")
    waiting = subprocess.Popen(
        home.command("add", picture(home, "a.png"), "--wait"),
        env=home.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    assert "sent 0 of 1, searchable 0 of 1" in waiting.stderr.readline()
    assert home.kill_daemon(signal.SIGKILL)
    assert "sent 0 of 1, searchable 0 of 1" in waiting.stderr.readline()
    assert "sent 0 of 1, searchable 0 of 1" in waiting.stderr.readline()
    home.ok("daemon", "restart")
    assert "sent 0 of 1, searchable 0 of 1" in waiting.stderr.readline()
    assert "sent 0 of 1, searchable 0 of 1" in waiting.stderr.readline()
    home.ok("daemon", "stop")
    _, err = waiting.communicate(timeout=TIMEOUT_S)
    assert waiting.returncode == 3
    assert "the daemon was stopped; queued files wait" in err
    assert home.ok("daemon", "stop") == "The daemon is not running.\n"


def test_a_stopped_daemon_is_named_within_three_seconds(home: Home):
    home.ok("status")
    pid = home.daemon_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        error = status_of_a_frozen_daemon(home)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert f"its process {pid} is stopped (state T)" in error
    assert f"kill -CONT {pid}" in error
    home.ok("status")


def test_a_daemon_in_a_frozen_cgroup_is_named_within_three_seconds(home: Home):
    home.ok("status")
    pid = home.daemon_pid()
    assert pid is not None
    with own_cgroup(pid) as group:
        (group / "cgroup.freeze").write_text("1")
        error = status_of_a_frozen_daemon(home)
        assert f"its process {pid} is frozen with its cgroup {group}" in error
        remedy = error.rpartition("to continue it: ")[2].strip().replace("sudo ", "")
        subprocess.run(["sh", "-c", remedy], check=True, stdout=subprocess.DEVNULL)
        home.ok("status")


def status_of_a_frozen_daemon(home: Home) -> str:
    """Return the error of `sploot status`, which needs 3 s at most."""
    started_at = time.monotonic()
    done = home.run("status", timeout_s=TIMEOUT_S)
    assert time.monotonic() - started_at <= 3.0
    assert done.returncode == 3
    return done.stderr


@contextmanager
def own_cgroup(pid: int) -> Iterator[Path]:
    """Move a process into a cgroup of its own (version 2), which a user without a service manager cannot do."""
    top = next((each for each in CGROUP_MOUNTS if (each / "cgroup.procs").exists()), None)
    group = None if top is None else top / f"sploot-test-{pid}"
    try:
        if group is None:
            raise FileNotFoundError("cgroup2 is not mounted")
        group.mkdir()
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        yield group
    finally:
        (group / "cgroup.freeze").write_text("0")
        (top / "cgroup.procs").write_text(str(pid))
        group.rmdir()


# Changes.


def test_forget_retry_and_bump(shared: Home):
    picture(shared, "toy.png")
    shared.ok("add", "toy.png")
    assert shared.ok("forget", "toy.png") == "1 file removed from the queue.\n"
    row = shared.json("why", "toy.png")["item"]
    assert row["state"] == "skipped"
    assert shared.ok("retry", str(row["id"])) == "1 file back in the queue.\n"
    assert shared.json("why", "toy.png")["item"]["priority"] == "urgent"
    missing = shared.run("bump", "nowhere.png")
    assert missing.returncode == 1
    assert "nowhere.png is not in the queue" in missing.stderr


def test_a_pause_survives_a_restart(home: Home):
    home.ok("pause")
    home.ok("daemon", "restart")
    assert home.json("status")["daemon"]["state"] == "paused"
    home.ok("resume")
    assert home.json("status")["daemon"]["state"] == "running"


def test_a_backup_that_is_missing_is_called_missing_and_not_a_failing_disk(shared: Home):
    done = shared.run("restore", "/nowhere/backup")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: /nowhere/backup does not exist",
        "hint: give a file that `sploot backup` has written",
    ]


def test_a_folder_is_watched_until_it_is_removed(shared: Home):
    folder = shared.folder / "watched"
    folder.mkdir()
    shared.ok("add", "watched")
    assert [row["path"] for row in shared.json("folders")] == [str(folder)]
    assert "watched" in shared.ok("folders")
    shared.ok("folders", "remove", "watched")
    assert shared.json("folders") == []
    assert shared.run("folders", "remove", "watched").returncode == 1


def test_a_setting_is_validated_stored_and_applied(home: Home):
    home.ok("status")
    before = home.daemon_pid()
    done = home.run("config", "set", "connections", "2")
    assert done.stdout == "connections is now 2.\n"
    assert "The daemon restarted with the new setting." in done.stderr
    assert home.daemon_pid() != before
    assert home.ok("config", "get", "connections") == "2\n"
    rows = {row["key"]: row for row in home.json("config", "list")}
    assert (rows["connections"]["value"], rows["connections"]["source"]) == (2, "file")
    assert rows["server"]["source"] == "environment (SPLOOT_SERVER)"
    wrong = home.run("config", "set", "connections", "nine")
    assert wrong.returncode == 2
    assert "1 to 4" in wrong.stderr


def test_a_token_is_stored_and_never_printed(shared: Home):
    shared.run("login", "--token-stdin", stdin=b"very-secret-token\n")
    assert "very-secret-token" in (shared.state / "token").read_text()
    assert stat.S_IMODE((shared.state / "token").stat().st_mode) == 0o600
    assert "very-secret-token" not in shared.log() + shared.ok("status", "--json")
    shared.ok("logout")
    assert not (shared.state / "token").exists()


def test_login_without_a_terminal_does_not_prompt(shared: Home):
    done = shared.run("login", stdin=b"")
    assert done.returncode == 2
    assert "--token-stdin" in done.stderr


# Output.


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("list", "--state", "broken"),
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
def test_wrong_usage_is_an_error_with_exit_code_2(shared: Home, arguments: tuple[str, ...]):
    done = shared.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_a_search_without_a_server_is_an_error_message(shared: Home):
    done = shared.run("search", "cat")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")


def test_the_exit_code_of_status_shows_whether_work_is_left(home: Home):
    assert home.run("status", "--exit-code").returncode == 0
    home.ok("add", picture(home, "a.png"))
    assert home.run("status", "--exit-code").returncode == 1


def test_the_fast_path_prints_the_same_status_as_typer(shared: Home):
    short, long = shared.run("status"), shared.run("status", "--exit-code")
    assert [line.split()[0] for line in short.stdout.splitlines()] == [
        line.split()[0] for line in long.stdout.splitlines()
    ]
    assert short.returncode == 0


def test_output_is_plain_when_piped_and_coloured_on_a_terminal(shared: Home):
    assert "\x1b" not in shared.ok("status")
    assert "\x1b[32m" in run_in_terminal(shared, "status")
    assert "\x1b" not in run_in_terminal(Home(shared.folder, shared.environ | {"NO_COLOR": "1"}), "status")


def run_in_terminal(home: Home, *arguments: str) -> str:
    master, terminal = pty.openpty()
    running = subprocess.Popen(
        home.command(*arguments),
        env=home.variables() | {"TERM": "xterm"},
        cwd=home.folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    output = b""
    while select.select([master], [], [], TIMEOUT_S)[0]:
        try:
            chunk = os.read(master, 65_536)
        except OSError:  # EIO: on Linux, the other end of the terminal is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(master)
    assert running.wait(TIMEOUT_S) == 0
    return output.decode()


def test_a_closed_pipe_is_no_error(shared: Home):
    picture(shared, "p.png")
    shared.ok("add", "p.png")
    listing = subprocess.Popen(
        shared.command("list", "--json"), env=shared.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    listing.stdout.close()
    assert listing.wait(TIMEOUT_S) == 141
    assert listing.stderr.read() == b""
    listing.stderr.close()


def test_closed_streams_are_no_error(shared: Home):
    shared.ok("status")
    command = " ".join(str(part) for part in shared.command("status"))
    done = subprocess.run(
        ["sh", "-c", f"{command} <&- >&-"],
        env=shared.variables(),
        stderr=subprocess.PIPE,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_file_name_in_an_error_cannot_send_escape_sequences(shared: Home):
    done = shared.run("why", "\x1b[31mred\n.png")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert r"\x1b[31mred\n.png is not in the queue" in done.stderr


def test_the_log_is_readable(shared: Home):
    shared.ok("status")
    assert "daemon: started" in shared.ok("logs")
    assert "daemon: started" not in shared.ok("logs", "--level", "error")


def test_status_follow_prints_changes_across_a_restart(home: Home):
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
    shown = map(json.loads, following.stdout)  # other events redraw it as well
    before = next(each for each in shown if each["items"]["total"] == 1)
    home.ok("daemon", "restart")
    assert next(each for each in shown if each["daemon"]["pid"] != before["daemon"]["pid"])["items"]["total"] == 1
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=TIMEOUT_S)
    assert following.returncode == 130


def test_version_and_help_need_no_daemon(home: Home):
    assert home.ok("--version") == f"sploot {__version__}\n"
    assert "add" in home.ok("--help")
    assert "--wait" in home.ok("add", "--help")
    assert home.daemon_pid() is None


@pytest.mark.parametrize(
    ("arguments", "usage", "help_command"),
    [
        (("serach",), "Usage: sploot [OPTIONS] COMMAND", "sploot --help"),
        (("bump",), "Usage: sploot bump [OPTIONS]", "sploot bump --help"),
        (("folders", "rm"), "Commands: remove", "sploot folders --help"),
        (("list", "--limit", "many"), "Usage: sploot list [OPTIONS]", "sploot list --help"),
    ],
)
def test_wrong_usage_shows_the_usage_of_the_command(
    shared: Home, arguments: tuple[str, ...], usage: str, help_command: str
):
    stderr = shared.run(*arguments).stderr
    assert usage in stderr
    assert stderr.endswith(f"Help: {help_command}\n")


def test_sploot_without_a_command_shows_the_status_and_what_to_type_next(shared: Home):
    status, _, next_commands = shared.ok().partition("\n\nNext:\n")
    assert status.startswith("daemon ")
    assert [line.split("  ")[1] for line in next_commands.splitlines()] == [
        "sploot add FOLDER",
        "sploot search TEXT",
        "sploot --help",
    ]


def test_help_and_version_are_commands_too(home: Home):
    assert home.ok("help") == home.ok("--help")
    assert home.ok("help", "add") == home.ok("add", "--help")
    assert home.ok("version") == home.ok("-V") == home.ok("--version")
    assert home.ok("config") == home.ok("config", "--help")
    assert home.daemon_pid() is None
