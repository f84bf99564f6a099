"""Install the wheel in dist/ into a clean environment and run the demos there, away from the
checkout."""

import pathlib
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    (wheel,) = (ROOT / "dist").glob("angzarr-*.whl")
    if "-cp311-abi3-" not in wheel.name:
        sys.exit(f"{wheel.name} is not an abi3 wheel for CPython 3.11 and later")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = pathlib.Path(folder, "bin", "python")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", f"{wheel}[examples]"], check=True
        )
        for demo in ("holdem", "bank"):
            subprocess.run([python, "-m", f"angzarr.examples.{demo}.demo"], check=True, cwd=folder)
    print(f"{wheel.name} runs the demos in a clean environment")


if __name__ == "__main__":
    main()
