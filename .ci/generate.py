"""Generate python/angzarr/_wire from proto/angzarr, and the examples' code from the protos beside
it; with --check, compare instead of writing.

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
PYTHON = ROOT / "python"
WIRE = PYTHON / "angzarr" / "_wire"
EXAMPLES = PYTHON / "angzarr" / "examples"
INCLUDED = [
    pathlib.Path(grpc_tools.__path__[0]) / "_proto",
    pathlib.Path(google.api.annotations_pb2.__file__).parents[2],
]


def generate(target: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        protos = sorted((ROOT / "proto" / "angzarr").glob("*.proto"))
        run_protoc(ROOT / "proto", protos, f"--python_out={scratch}", f"--pyi_out={scratch}")
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


def generate_examples(target: pathlib.Path) -> None:
    """Into the same folders below `target` as the protos are below python/; as users would."""
    if protos := sorted(EXAMPLES.rglob("*.proto")):
        outs = [f"--{out}_out={target}" for out in ("python", "pyi", "grpc_python")]
        run_protoc(PYTHON, protos, *outs)


def run_protoc(root: pathlib.Path, protos: list[pathlib.Path], *outs: str) -> None:
    includes = [f"-I{path}" for path in (root, *INCLUDED)]
    if protoc.main(["protoc", *includes, *outs, *map(str, protos)]) != 0:
        sys.exit("protoc failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="exit 1 when the committed code differs"
    )
    if not parser.parse_args().check:
        for old in (*WIRE.glob("*_pb2.py*"), *EXAMPLES.rglob("*_pb2*.py*")):
            old.unlink()
        generate(WIRE)
        generate_examples(PYTHON)
        return
    with tempfile.TemporaryDirectory() as wire, tempfile.TemporaryDirectory() as examples:
        generate(pathlib.Path(wire))
        generate_examples(pathlib.Path(examples))
        stale = [
            *_stale(pathlib.Path(wire), WIRE, "*"),
            *_stale(pathlib.Path(examples, "angzarr", "examples"), EXAMPLES, "*_pb2*.py*"),
        ]
    if stale:
        sys.exit(f"generated code is stale: {', '.join(stale)}; run `make generate`")


def _stale(fresh: pathlib.Path, committed: pathlib.Path, pattern: str) -> list[str]:
    """Files that are in one of two folders alone, or differ."""
    names = {
        path.relative_to(folder)
        for folder in (fresh, committed)
        for path in folder.rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(str(name) for name in names if not _same(fresh / name, committed / name))


def _same(left: pathlib.Path, right: pathlib.Path) -> bool:
    return left.exists() and right.exists() and filecmp.cmp(left, right, shallow=False)


if __name__ == "__main__":
    main()
