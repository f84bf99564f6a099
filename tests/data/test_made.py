"""Pages of explored branches, framed by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from angzarr import wire
from angzarr.data.made import Made


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 2**62), st.text(min_size=1), st.binary(max_size=300)
)
def test_a_page_is_what_protobuf_writes(
    sequence: int, time_ns: int, type_url: str, payload: bytes
) -> None:
    page = wire.EventPage(committed=True)
    page.header.sequence = sequence
    page.created_at.FromNanoseconds(time_ns)
    page.event.type_url, page.event.value = type_url, payload

    made = Made(sequence, time_ns, type_url, payload)

    assert made.encoded() == page.SerializeToString(deterministic=True)
    assert made.page() == page
