"""Make the environment of the published client, once per machine, and print the path of its Python.

It pins another protobuf and registers the same proto names, so it can't share our environment
(docs/spec/compat.md). It is licensed apart from us: it is run, never read.
"""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys

VERSION = "0.3.1"


def main() -> None:
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    cache = pathlib.Path(os.environ.get("ANGZARR_CACHE") or pathlib.Path(base, "angzarr"))
    home = cache / f"peer-{VERSION}-py{sys.version_info.major}.{sys.version_info.minor}"
    cache.mkdir(parents=True, exist_ok=True)
    python = home / "bin" / "python"
    with open(cache / f"{home.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            install = [str(python), "-m", "pip", "install", "--quiet", f"angzarr-client=={VERSION}"]
            subprocess.run(install, check=True, stdout=sys.stderr)
            (home / "complete").touch()
    print(python)


if __name__ == "__main__":
    main()
