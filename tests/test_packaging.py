"""What is shipped: the same bytes from the same source, with units, type information and licences."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import licences
import pytest
from packaging.requirements import Requirement

from splootd import __version__

ROOT = Path(__file__).parent.parent
EPOCH = "1700000000"
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", ".hypothesis", "dist")


def built(source: Path, target: Path, kind: str) -> Path:
    """The wheel or sdist of `source`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=source, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, check=True, capture_output=True)
    (file,) = target.iterdir()
    return file


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The source twice, with other times and modes of its files."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folders = [tmp_path_factory.mktemp("source") / name for name in ("one", "another")]
    for number, folder in enumerate(folders):
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
        for file in folder.rglob("*"):
            if file.is_file():
                os.utime(file, (1_000_000_000 + number, 1_000_000_000 + number))
    return folders


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_the_same_source_makes_the_same_bytes(sources: list[Path], tmp_path: Path, kind: str):
    files = [built(source, tmp_path / source.name, kind) for source in sources]
    assert files[0].name == files[1].name
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_wheel_brings_units_and_types(sources: list[Path], tmp_path: Path):
    with zipfile.ZipFile(built(sources[0], tmp_path / "wheel", "wheel")) as wheel:
        names = set(wheel.namelist())
    assert {
        "splootd/units/systemd/splootd.service.in",
        "splootd/units/systemd/splootd.socket.in",
        "splootd/units/launchd/splootd.plist.in",
        "sploot/py.typed",
        "sploot_server/http/openapi/openapi.yaml",
        "sploot_web/library/library.js",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "cli/", "server/", "web/"))]


@pytest.mark.parametrize(
    "command",
    [("pipx", "install"), ("uv", "tool", "install", "--python", sys.executable)],
    ids=["pipx", "uv"],
)
def test_an_installed_tool_is_on_the_path_and_stays_in_its_folders(
    sources: list[Path], tmp_path: Path, command: tuple[str, ...]
):
    wheel, home = built(sources[0], tmp_path / "wheel", "wheel"), tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "UV_", "PIPX_"))}
    environ = {**kept, "HOME": str(home)}
    program = Path(sys.executable).with_name(command[0])
    subprocess.run([program, *command[1:], wheel], check=True, capture_output=True, env=environ, timeout=110)
    bin_folder = home / ".local" / "bin"
    assert {each.name for each in bin_folder.iterdir()} >= {"sploot", "splootd", "sploot-server"}
    done = subprocess.run([bin_folder / "sploot", "version"], check=True, capture_output=True, text=True, env=environ)
    assert done.stdout.startswith(f"sploot {__version__}")
    assert {each.name for each in home.iterdir()} <= {".local", ".cache"}
    assert {each.name for each in (home / ".local").iterdir()} <= {"bin", "share", "state"}
    assert list(home.rglob("sploot-add.1")), "the man pages come with it"


def test_the_wheel_and_the_wheel_of_the_sdist_know_their_commit(sources: list[Path], tmp_path: Path):
    source = sources[0]
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty"],
    ):
        subprocess.run(["git", *command], cwd=source, check=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, check=True, capture_output=True, text=True)
    shutil.unpack_archive(built(source, tmp_path / "sdist", "sdist"), tmp_path / "unpacked")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    for origin in (source, unpacked):
        with zipfile.ZipFile(built(origin, tmp_path / f"wheel-{origin.name}", "wheel")) as wheel:
            assert done.stdout.startswith(wheel.read("splootd/commit").decode())
    shutil.rmtree(source / ".git")


def test_every_package_that_is_required_is_listed_with_its_licence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = (ROOT / "docs" / "licences.md").read_text()
    for line in project["dependencies"] + project["optional-dependencies"]["local"]:
        assert f"| {licences.normal(Requirement(line).name)} |" in listed


def test_the_changelog_knows_this_version():
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
