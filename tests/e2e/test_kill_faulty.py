"""The daemon and a faulty server as processes, both killed repeatedly."""

import json
import os
import subprocess
import sys

import kill_harness
import pytest

KILLS = int(os.environ.get("SPLOOT_TEST_KILLS", "15"))


@pytest.mark.timeout(300)
def test_killed_among_all_faults_each_content_arrives_exactly_once_and_the_counts_agree() -> None:
    """Run in a separate process: the harness forks, which is unsafe in a process with threads."""
    command = [sys.executable, kill_harness.__file__, "--rounds", "1", "--kills", str(KILLS)]
    if seed := os.environ.get("SPLOOT_TEST_SEED"):
        command += ["--seed", seed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["kills"] == KILLS
