"""A reaction's provenance as bytes (SAGA-11, WIRE-13)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.coordinators.provenance import encoded, occasion_of
from angzarr.cover import COMMAND, FACT, Cover, Provenance, root_of


@pytest.mark.spec("SAGA-11", "WIRE-13")
@pytest.mark.parametrize("kind", [COMMAND, FACT])
@pytest.mark.parametrize(("source_seq", "index"), [(0, 0), (4, 1), (2**32 - 1, 2**32 - 1)])
@pytest.mark.parametrize("occasion", [b"", bytes(range(16))])
def test_it_reads_as_the_message_that_it_is(kind, source_seq, index, occasion):
    source = Cover("order", root_of("7f"), "what-if", "c-1")

    data = encoded(Provenance(source, source_seq, "saga:shipping", index, kind, occasion))

    read = wire.Provenance.FromString(data)
    cover = wire.Cover(domain="order", root=wire.UUID(value=root_of("7f")), correlation_id="c-1")
    cover.edition.name = "what-if"
    wanted = wire.Provenance(
        source=cover,
        source_seq=source_seq,
        component="saga:shipping",
        index=index,
        kind=kind,
        occasion=occasion,
    )
    assert read == wanted
    assert data == wanted.SerializeToString(deterministic=True)


@pytest.mark.spec("WIRE-12")
def test_an_occasion_depends_on_where_its_parts_end():
    assert len(occasion_of(b"ab", b"c")) == 16
    assert occasion_of(b"ab", b"c") != occasion_of(b"a", b"bc")
