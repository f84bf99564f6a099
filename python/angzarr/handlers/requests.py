"""Encoded requests, parsed."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from angzarr.errors import InvalidInput

M = TypeVar("M", bound=Message)


def parse(cls: type[M], request: bytes, field: str) -> M:
    """The message in `request`. Raises InvalidInput, naming `field`, if it does not parse."""
    try:
        return cls.FromString(request)
    except DecodeError as error:
        raise InvalidInput(field, f"an encoded {cls.DESCRIPTOR.full_name}", error) from error
