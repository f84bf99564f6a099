"""The demo, as `make demo` runs it, on a few hands."""

from __future__ import annotations

import subprocess
import sys


def test_the_demo_survives_its_kill_and_comes_to_what_was_published():
    command = [sys.executable, "-m", "angzarr.examples.holdem.demo", "--hands", "8"]
    command += ["--branches", "40"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=25, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 of 8 hands paid out as published" in done.stdout
    assert "19 of 19 players stand as published" in done.stdout
    assert "what was really played is as it was" in done.stdout
