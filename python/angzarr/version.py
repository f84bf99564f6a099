"""The version of the installed package."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """As installed; `checkout` where the sources are used without being installed."""
    try:
        return metadata.version("angzarr")
    except metadata.PackageNotFoundError:
        return "checkout"
