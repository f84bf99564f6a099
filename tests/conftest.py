"""What tests of several parts share: the published client in an environment of its own."""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

PEER_VERSION = "0.3.1"


@pytest.fixture(scope="session")
def peer() -> pathlib.Path:
    """The Python of an environment that holds `angzarr-client`; made once per machine.

    It pins another protobuf and registers the same proto names, so it can't share our environment
    (docs/spec/compat.md). It is licensed apart from us: it is run, never read.
    """
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    home = cache / "angzarr" / f"peer-{PEER_VERSION}-{version}"
    home.parent.mkdir(parents=True, exist_ok=True)
    python = home / "bin" / "python"
    with open(home.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            run([sys.executable, "-m", "venv", str(home)])
            install = [str(python), "-m", "pip", "install", "--quiet"]
            run([*install, f"angzarr-client=={PEER_VERSION}"])
            (home / "complete").touch()
    return python


@pytest.fixture(scope="session")
def pems(tmp_path_factory: pytest.Temppathlib.PathFactory) -> pathlib.Path:
    """An authority, and certificates for `localhost` and for a client, made by openssl."""
    assert shutil.which("openssl"), "the tests of TLS need the openssl command"
    folder = tmp_path_factory.mktemp("pems")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    for name in ("localhost", "client"):
        (folder / "san").write_text(f"subjectAltName=DNS:{name}")
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


def run(command: list[str]) -> None:
    """Run it; its output is the failure's text."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
