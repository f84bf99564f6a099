"""Adapters of the store ports, by the scheme of their URL."""

from angzarr.stores.registry import open_stores

__all__ = ["open_stores"]
