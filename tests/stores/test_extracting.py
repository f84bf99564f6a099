"""Fields of payloads: what is read, and that nothing in a payload can break it."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angzarr.ports.columns import FieldPath, FieldSpec
from angzarr.stores._extracting import ENCODINGS, INT_MAX, INT_MIN, extractors_of

JSON_URL = "json.angzarr.io/pkg.Happened"
PROTOBUF_URL = "t/pkg.Happened"
KINDS = ["int", "float", "bool", "text", "payload"]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
keys = st.sampled_from(["a", "b", "c", 'q"', "é"])
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def spec_of(kind: Any, path: FieldPath) -> FieldSpec:
    return FieldSpec("x", kind, (path,))


def value_at(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def as_kind(value: Any, kind: str) -> Any:
    """What a column of the kind has of a JSON value."""
    if kind == "bool":
        return int(value) if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if kind == "int":
        return value if isinstance(value, int) and INT_MIN <= value <= INT_MAX else None
    if kind == "float":
        return float(value) if isinstance(value, int | float) else None
    return value if kind == "text" and isinstance(value, str) else None


@pytest.mark.spec("STO-17")
@given(
    documents,
    st.lists(st.tuples(st.lists(keys, min_size=1, max_size=3), st.sampled_from(KINDS)), max_size=5),
    st.booleans(),
)
def test_json_gives_what_its_document_has(
    document: Any, asked: list[tuple[list[str], str]], is_ascii: bool
) -> None:
    specs = [spec_of(kind, FieldPath("pkg.Happened", tuple(path))) for path, kind in asked]
    payload = json.dumps(document, ensure_ascii=is_ascii).encode()

    found = [read(payload) for read in extractors_of(specs, JSON_URL) if read]

    assert found == [as_kind(value_at(document, tuple(path)), kind) for path, kind in asked]


@pytest.mark.spec("STO-17")
@given(
    st.binary(max_size=40),
    st.sampled_from(KINDS),
    st.sampled_from(sorted(ENCODINGS)),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
)
def test_garbage_gives_a_value_of_the_kind_or_none(
    payload: bytes, kind: str, encoding: str, numbers: list[int]
) -> None:
    path = FieldPath("pkg.Happened", ("a",), tuple(numbers), encoding)
    types = {"int": int, "float": float, "bool": int, "text": str, "payload": type(None)}

    for url in (JSON_URL, PROTOBUF_URL):
        [read] = extractors_of([spec_of(kind, path)], url)
        assert read is not None
        assert isinstance(read(payload), types[kind] | None)


@pytest.mark.spec("STO-17")
@given(st.floats(allow_nan=False), st.integers(1, 2**29 - 1))
def test_a_double_is_exact_at_any_field_number(value: float, number: int) -> None:
    path = FieldPath("pkg.Happened", (), (number,), "double")
    tag, left = b"", number << 3 | 1
    while left > 0x7F:
        tag, left = tag + bytes([left & 0x7F | 0x80]), left >> 7
    payload = tag + bytes([left]) + struct.pack("<d", value)

    [read] = extractors_of([spec_of("float", path)], PROTOBUF_URL)

    assert read is not None
    assert read(payload) == value


@pytest.mark.spec("STO-17")
def test_extractors_of_a_type_read_one_payload_after_the_other() -> None:
    """They share the document that was parsed last."""
    specs = [spec_of("int", FieldPath("pkg.Happened", (key,))) for key in "ab"]
    read_a, read_b = (read for read in extractors_of(specs, JSON_URL) if read)

    found = [(read_a(p), read_b(p)) for p in (b'{"a": 1, "b": 2}', b'{"b": 3}', b"[", b'{"a": 4}')]

    assert found == [(1, 2), (None, 3), (None, None), (4, None)]


@pytest.mark.spec("STO-17")
def test_a_type_without_a_path_is_not_read() -> None:
    spec = spec_of("int", FieldPath("pkg.Happened", ("a",)))

    assert extractors_of([spec], "json.angzarr.io/pkg.Other") == [None]
    assert extractors_of([spec], PROTOBUF_URL) == [None]
