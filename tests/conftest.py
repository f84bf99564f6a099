"""What tests of several parts share: the published client in an environment of its own."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

PEER_ENV = pathlib.Path(__file__).parent.parent / ".ci" / "peer_env.py"


@pytest.fixture(scope="session")
def peer() -> pathlib.Path:
    """The Python of an environment that holds `angzarr-client`; made once per machine."""
    made = subprocess.run([sys.executable, PEER_ENV], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(made.stdout.strip())


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
