"""The demo, as `make demo` runs it, on a few hands."""

from __future__ import annotations

import subprocess
import sys


def test_the_demo_survives_its_kill_and_pays_out_as_published():
    command = [sys.executable, "-m", "angzarr.examples.holdem.demo", "--hands", "12"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=25, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 of 12 hands paid out as published" in done.stdout
