"""The `angzarr` command; one file per subcommand."""

from angzarr.cli.main import main

__all__ = ["main"]
