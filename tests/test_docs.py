"""Every snippet of the README and the guide is executed, file by file, in a folder of its own.

```python title="x.py"``` is written to that file, other python blocks are run as programs;
```console``` blocks run their `$` lines in one shell session, in which a line that ends with `&`
starts a server and waits until it listens.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```(python|console)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.M | re.S)
DEFAULT_PORT = "1310"


class Session:
    """One page's folder: files, programs, and the servers that its console blocks start."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
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
            (self._folder / title).write_text(code)
            return
        self._run([sys.executable, "-W", "error", "-c", code.replace(DEFAULT_PORT, self._port)])

    def console(self, text: str) -> None:
        for line in text.splitlines():
            if not line.startswith("$ "):
                continue
            command = line[2:].replace(DEFAULT_PORT, self._port)
            if command.endswith("&"):
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
        for server in self._servers:
            server.send_signal(signal.SIGTERM)
            server.wait(20)
            if server.stdout:
                server.stdout.close()


@pytest.fixture
def session(tmp_path: pathlib.Path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_snippet_runs(page: pathlib.Path, session: Session) -> None:
    for language, title, code in BLOCK.findall(page.read_text()):
        if language == "python":
            session.python(title or None, code)
        else:
            session.console(code)
