"""The daemon and a Sploot on its worst day, as processes, both killed again and again."""

import json
import os
import subprocess
import sys

import kill_harness
import pytest

KILLS = int(os.environ.get("SPLOOT_TEST_KILLS", "40"))


@pytest.mark.timeout(300)
def test_killed_among_all_faults_each_content_arrives_exactly_once_and_the_books_agree() -> None:
    """In a program of its own: it forks, which a program with threads must not."""
    command = [sys.executable, kill_harness.__file__, "--rounds", "1", "--kills", str(KILLS)]
    if seed := os.environ.get("SPLOOT_TEST_SEED"):
        command += ["--seed", seed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["kills"] == KILLS
