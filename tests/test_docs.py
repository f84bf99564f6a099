"""Every snippet of the README and the guide is executed, file by file, in a folder of its own.

```python title="x.py"``` is written to that file, and so is yaml; python blocks without a title are
run as programs; ```console``` blocks run their `$` lines in one shell session, in which a line
that ends with `&` starts a server and waits until it listens, and `kill %1` ends the first one.
SOCKETS stands for a directory of the page's own.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```(python|yaml|console)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.M | re.S)
DEFAULT_PORT = "1310"
SOCKETS = "/run/bank"
OTHERS_STORE = "--store grpc"
"""What a server is started with that has no store of its own."""


class Session:
    """One page's folder: files, programs, and the servers that its console blocks start."""

    def __init__(self, folder: pathlib.Path, sockets: str) -> None:
        self._folder = folder
        self._sockets = sockets
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = str(probe.getsockname()[1])
        scripts = pathlib.Path(sys.executable).parent
        self._environment = os.environ | {
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ANGZARR_ADDRESS": f"127.0.0.1:{self._port}",
            "ANGZARR_COORDINATOR_PORT": self._port,
        }
        self._servers: list[subprocess.Popen[str]] = []

    def python(self, title: str | None, code: str) -> None:
        if title:
            self.write(title, code)
            return
        self._run([sys.executable, "-W", "error", "-c", code.replace(DEFAULT_PORT, self._port)])

    def write(self, title: str, text: str) -> None:
        (self._folder / title).write_text(text.replace(SOCKETS, self._sockets))

    def console(self, text: str) -> None:
        for line in text.splitlines():
            if not line.startswith("$ "):
                continue
            command = line[2:].replace(DEFAULT_PORT, self._port).replace(SOCKETS, self._sockets)
            if command.startswith("kill %"):
                self._end(self._servers[int(command.removeprefix("kill %")) - 1])
            elif command.endswith("&"):
                self._start(command.removesuffix("&"))
            else:
                self._run(["bash", "-c", command])

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"

    def _start(self, command: str) -> None:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self._folder,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._servers.append(server)
        assert server.stdout
        said = ""
        for line in server.stdout:
            said += line
            if line.startswith("listening on"):
                return
        pytest.fail(f"{command} did not start:\n{said}")

    def close(self) -> None:
        users = [server for server in self._servers if OTHERS_STORE in str(server.args)]
        for server in (*users, *self._servers):
            if server.returncode is None:
                self._end(server)

    def _end(self, server: subprocess.Popen[str]) -> None:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
        if server.stdout:
            server.stdout.close()


@pytest.fixture
def session(tmp_path: pathlib.Path) -> Iterator[Session]:
    with tempfile.TemporaryDirectory(prefix="angzarr-") as sockets:  # whose path is short enough
        made = Session(tmp_path, sockets)
        yield made
        made.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_snippet_runs(page: pathlib.Path, session: Session) -> None:
    for language, title, code in BLOCK.findall(page.read_text()):
        if language == "python":
            session.python(title or None, code)
        elif language == "yaml":
            if title:
                session.write(title, code)
        else:
            session.console(code)
