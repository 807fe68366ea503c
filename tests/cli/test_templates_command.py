"""`sploot templates` with a library server that reads real pictures."""

import time
from pathlib import Path

import pytest
from temp_home import POLL_S, home_in
from template_scenes import draw_scene, make_variant
from toy_library import ServerProcess

pytestmark = pytest.mark.models


def test_templates_are_learned_from_a_folder_named_on_a_file_found_and_removed(tmp_path: Path):
    folder, empty = tmp_path / "templates", tmp_path / "empty"
    (folder / "walrus").mkdir(parents=True)
    draw_scene(1).save(folder / "walrus" / "1.png")
    (folder / "walrus" / "config.yml").write_text("name: Pointing Walrus\nkeywords:\n  - disapproval\n")
    draw_scene(2).save(folder / "odd-couple.png")
    (folder / "broken.png").write_bytes(b"text")
    empty.mkdir()
    server = ServerProcess(tmp_path / "library", port=0)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.address) as home:
        walrus, table, other = files = [home.folder / f"{name}.jpg" for name in ("a", "b", "c")]
        for scene, file in zip((1, 3, 3), files, strict=True):
            file.write_bytes(make_variant(draw_scene(scene), "cropped", ord(file.stem)))
        home.ok("add", *map(str, files), "--wait", "--timeout", "100")
        assert "sploot templates learn DIR" in home.ok("templates", "list")

        done = home.run("templates", "learn", str(folder))
        assert (done.returncode, done.stdout) == (1, "Learned 2 pictures.\n")
        assert "broken.png: the library rejected the request" in done.stderr
        assert home.run("templates", "learn", str(empty)).returncode == 1
        home.ok("templates", "name", str(table), "Sad Table")
        assert home.run("templates", "name", str(home.folder / "absent.jpg"), "Sad Table").returncode == 1

        while [row["assets"] for row in home.json("templates", "list")] != [0, 1, 2]:
            time.sleep(POLL_S)
        assert "Pointing Walrus (disapproval): shown by 1 picture\n" in home.ok("templates", "list")
        (hit,) = home.json("search", "disapproval")
        assert (hit["path"], hit["reason"]) == (str(walrus), "words: disapproval; template: Pointing Walrus")
        assert {hit["path"] for hit in home.json("search", "sad table")} == {str(table), str(other)}

        assert home.ok("templates", "remove", "sad table").startswith("Removed the template Sad Table.")
        assert home.run("templates", "remove", "sad table").returncode == 1
        assert home.run("search", "sad table").returncode == 1
    server.stop()
