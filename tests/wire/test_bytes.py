"""Each of the published client's messages, in every field: written there, read here, and back."""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
import pathlib
import pkgutil
import subprocess
from types import ModuleType

import pytest
from google.protobuf.message import Message

import angzarr._wire
from angzarr import wire

pytestmark = pytest.mark.timeout(300)  # the first run makes the client's environment

SCRIPT = pathlib.Path(__file__).with_name("populate.py")


def load_populate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("populate", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


populate = load_populate()
MODULES = [
    importlib.import_module(f"angzarr._wire.{info.name}")
    for info in pkgutil.iter_modules(angzarr._wire.__path__)
]
CLASSES: dict[str, type[Message]] = populate.messages_of(MODULES)
ADDITIONS = (
    "admin_pb2",
    "dlq_pb2",
    "edition_pb2",
    "history_pb2",
    "provenance_pb2",
    "reaction_pb2",
    "speculation_pb2",
    "store_pb2",
    "timer_pb2",
)
ADDED = set(populate.messages_of(m for m in MODULES if m.__name__.endswith(ADDITIONS)))


@pytest.fixture(scope="module")
def theirs(peer: pathlib.Path) -> dict[str, list[bytes]]:
    """Their messages by full name, one for each variant."""
    done = subprocess.run([peer, SCRIPT], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["messages"]
    return {name: [base64.b64decode(item) for item in items] for name, items in found.items()}


@pytest.mark.spec("WIRE-2")
def test_every_message_is_covered(theirs: dict[str, list[bytes]]) -> None:
    assert set(theirs) == set(CLASSES) - ADDED


@pytest.mark.spec("WIRE-2", "WIRE-3")
@pytest.mark.parametrize("name", sorted(set(CLASSES) - ADDED))
def test_their_bytes_are_read_and_written_again_alike(
    theirs: dict[str, list[bytes]], name: str
) -> None:
    for data in theirs[name]:
        message = CLASSES[name].FromString(data)

        assert message.SerializeToString(deterministic=True) == data


@pytest.mark.spec("WIRE-2", "WIRE-3")
@pytest.mark.parametrize("name", sorted(set(CLASSES) - ADDED))
def test_our_message_with_the_same_values_has_their_bytes(
    theirs: dict[str, list[bytes]], name: str
) -> None:
    """So no field of theirs was merely kept as an unknown one."""
    ours = [
        populate.fill(CLASSES[name](), variant).SerializeToString(deterministic=True)
        for variant in range(len(theirs[name]))
    ]

    assert ours == theirs[name]


@pytest.mark.spec("WIRE-2", "WIRE-3")
def test_client_reads_what_we_write_as_its_own(
    peer: pathlib.Path, theirs: dict[str, list[bytes]], tmp_path: pathlib.Path
) -> None:
    ours = {
        name: [populate.dump(CLASSES[name].FromString(data)) for data in items]
        for name, items in theirs.items()
    }
    path = tmp_path / "ours.json"
    path.write_text(json.dumps(ours))

    done = subprocess.run([peer, SCRIPT, path], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == []


@pytest.mark.spec("WIRE-3")
@pytest.mark.parametrize("sequence", [0, 1, 127, 128, 2**31, 2**32 - 1])
def test_sequences_of_a_wide_map_have_the_bytes_of_a_narrow_one(sequence: int) -> None:
    """A uint32 field's varint; `SequenceRange.lower` is one."""
    narrow = wire.SequenceRange(lower=sequence).SerializeToString()[1:] or b"\0"
    request = wire.SagaHandleRequest(destination_sequences={"d": sequence})

    entry = b"\x0a\x01d" + b"\x10" + narrow
    assert request.SerializeToString() == b"\x22" + bytes([len(entry)]) + entry


@pytest.mark.spec("WIRE-2")
def test_unknown_fields_are_accepted() -> None:
    unknown = b"\xf8\x3f\x01" + b"\xfa\x3f\x02hi"

    cover = wire.Cover.FromString(b"\x12\x01d" + unknown)

    assert cover.domain == "d"


@pytest.mark.spec("WIRE-13")
def test_reader_of_a_deferred_header_sees_a_provenances_source() -> None:
    source = wire.Cover(domain="table", root=wire.UUID(value=bytes(16)), correlation_id="c")
    provenance = wire.Provenance(
        source=source, source_seq=7, component="saga:x", index=3, kind=wire.FACT
    )

    seen = wire.AngzarrDeferredSequence.FromString(provenance.SerializeToString())

    assert (seen.source, seen.source_seq) == (source, 7)
