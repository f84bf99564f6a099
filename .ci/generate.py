"""Generate python/angzarr/_wire from proto/angzarr; with --check, compare instead of writing.

protoc names Python modules after the proto files' paths, `angzarr/types.proto` →
`angzarr.types_pb2`, which would land in the package's own root; the imports are moved to
`angzarr._wire`. Wire names and descriptors stay as they are.
"""

import argparse
import filecmp
import pathlib
import re
import sys
import tempfile

import google.api.annotations_pb2
import grpc_tools
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIRE = ROOT / "python" / "angzarr" / "_wire"


def generate(target: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        includes = [
            ROOT / "proto",
            pathlib.Path(grpc_tools.__path__[0]) / "_proto",
            pathlib.Path(google.api.annotations_pb2.__file__).parents[2],
        ]
        protos = sorted((ROOT / "proto" / "angzarr").glob("*.proto"))
        arguments = [f"-I{path}" for path in includes]
        arguments += [f"--python_out={scratch}", f"--pyi_out={scratch}", *map(str, protos)]
        if protoc.main(["protoc", *arguments]) != 0:
            sys.exit("protoc failed")
        target.mkdir(parents=True, exist_ok=True)
        for made in sorted(pathlib.Path(scratch, "angzarr").iterdir()):
            text = re.sub(
                r"^from angzarr import (\w+_pb2)",
                r"from angzarr._wire import \1",
                made.read_text(),
                flags=re.M,
            )
            (target / made.name).write_text(text)
    (target / "__init__.py").write_text(
        '"""Generated wire messages; import them from `angzarr.wire`."""\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="exit 1 when the committed code differs"
    )
    if not parser.parse_args().check:
        for old in WIRE.glob("*_pb2.py*"):
            old.unlink()
        generate(WIRE)
        return
    with tempfile.TemporaryDirectory() as scratch:
        fresh = pathlib.Path(scratch)
        generate(fresh)
        names = {p.name for p in fresh.iterdir()} | {p.name for p in WIRE.iterdir() if p.is_file()}
        stale = sorted(n for n in names if not _same(fresh / n, WIRE / n))
    if stale:
        sys.exit(f"_wire is stale: {', '.join(stale)}; run `make generate`")


def _same(left: pathlib.Path, right: pathlib.Path) -> bool:
    return left.exists() and right.exists() and filecmp.cmp(left, right, shallow=False)


if __name__ == "__main__":
    main()
