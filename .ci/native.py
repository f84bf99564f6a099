"""Build the native module: `native.py develop` into the environment, `native.py wheel` into dist/,
`native.py test`.

RocksDB takes 15 to 20 minutes on two cores, so the cargo target directory lives outside the
checkout, named by the lock file's hash: every clone on the machine with the same lock shares it.
ANGZARR_CACHE moves it. A new lock file starts from a copy of the newest directory there, so that
only what changed is compiled again.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBCLANG = "libclang==18.1.1"  # what bindgen loads at run time to read RocksDB's C header
ROCKSDB_OBJECTS = 330  # C++ files of librocksdb-sys with lz4 and zstd, for the progress line only
PROGRESS_EVERY_S = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["develop", "wheel", "test", "lint", "env"])
    task = parser.parse_args().task
    cache = cache_dir()
    target = target_dir(cache)
    environment = build_environment(cache, target)
    if task == "env":
        print("\n".join(f"export {k}='{v}'" for k, v in environment.items()))
        return
    environment = os.environ | environment
    maturin = [sys.executable, "-m", "maturin"]
    commands = {
        "develop": [[*maturin, "develop", "--release", "--extras", "baseline,examples"]],
        "wheel": [[*maturin, "build", "--release", "--out", "dist"]],
        "test": [["cargo", "test", "--release", "--workspace", "--exclude", "angzarr-python"]],
        "lint": [
            ["cargo", "fmt", "--all", "--check"],
            [
                "cargo",
                "clippy",
                "--release",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        ],
    }
    with Progress(target):
        for command in commands[task]:
            status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
            if status:
                sys.exit(status)


def cache_dir() -> pathlib.Path:
    """Where builds are kept between checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("ANGZARR_CACHE") or pathlib.Path(base, "angzarr"))


def target_dir(cache: pathlib.Path) -> pathlib.Path:
    """The cargo target directory of this lock file, seeded from the newest other one if it is
    new."""
    digest = hashlib.sha256((ROOT / "Cargo.lock").read_bytes()).hexdigest()[:12]
    target = cache / f"target-{digest}"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        others = sorted(cache.glob("target-*"), key=lambda path: path.stat().st_mtime)
        if others:
            print(f"seeding {target.name} from {others[-1].name}", flush=True)
            partial = cache / f"seed-{digest}-{os.getpid()}"
            shutil.copytree(others[-1], partial, symlinks=True, copy_function=shutil.copy2)
            partial.rename(target)
    return target


def build_environment(cache: pathlib.Path, target: pathlib.Path) -> dict[str, str]:
    """Variables that cargo needs; their values are the same for all checkouts, since a change
    rebuilds RocksDB."""
    clang = cache / LIBCLANG.replace("==", "-")
    if not (clang / "clang" / "native").exists():
        install = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--target",
            str(clang),
            LIBCLANG,
        ]
        subprocess.run(install, check=True)
    headers = subprocess.run(
        [os.environ.get("CC", "gcc"), "-print-file-name=include"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return {
        "CARGO_TARGET_DIR": str(target),
        "LIBCLANG_PATH": str(clang / "clang" / "native"),
        "BINDGEN_EXTRA_CLANG_ARGS": f"-I{headers}",
        "PYO3_PYTHON": sys.executable,
    }


class Progress:
    """A line every few seconds while RocksDB's C++ compiles, which cargo itself is silent about."""

    def __init__(self, target: pathlib.Path) -> None:
        self._target = target
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_done.set()
        self._thread.join()

    def _run(self) -> None:
        began, before = time.monotonic(), self._count()
        while not self._is_done.wait(PROGRESS_EVERY_S):
            count = self._count()
            if count == before:
                continue
            before = count
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            print(
                f"compiling RocksDB: {count} of about {ROCKSDB_OBJECTS} files, "
                f"{minutes}m{seconds:02}s",
                flush=True,
            )

    def _count(self) -> int:
        builds = self._target.glob("release/build/librocksdb-sys-*/out")
        return sum(1 for build in builds for _ in build.rglob("*.o"))


if __name__ == "__main__":
    main()
