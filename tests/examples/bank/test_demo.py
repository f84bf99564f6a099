"""The demo, as `make demo` runs it, on a few payments."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.timeout(120)
@pytest.mark.spec("DEP-10", "DEP-11")
def test_the_demo_survives_its_kills_and_every_payment_ends_once():
    command = [sys.executable, "-m", "angzarr.examples.bank.demo", "--payments", "60"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "54 of 54" in done.stdout
    assert "6 of 6" in done.stdout
