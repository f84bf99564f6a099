"""Options that several commands share."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Final

import typer

from angzarr.app import App
from angzarr.config import store_settings
from angzarr.config_sources import Flag
from angzarr.errors import InvalidInput

Address = Annotated[
    str,
    typer.Option(
        "--address",
        "-a",
        envvar="ANGZARR_ADDRESS",
        help="The server: host:port, or a socket's path.",
    ),
]
Edition = Annotated[str, typer.Option(help="The branch; main without it.")]
At = Annotated[
    str,
    typer.Option(
        help="As of a sequence (7), a time (2026-01-31T12:00:00Z) or a place in the log "
        "(position:4711)."
    ),
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the answer.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="A YAML or TOML file with settings.")
]
Data = Annotated[Path | None, typer.Option("--data", "-d", help="The store's directory [data].")]
Store = Annotated[
    str,
    typer.Option(
        help="rocksdb://PATH, rocksdict://PATH, memory://, or another server's: "
        "grpc://HOST:PORT, grpc+unix:///PATH [rocksdb://data]."
    ),
]
Select = Annotated[
    str,
    typer.Option(help="Components to run: names, kind:* or *, -name to leave one out."),
]
Module = Annotated[
    str, typer.Argument(metavar="APP", help="app.py, app.py:name or package.module.")
]
Descriptors = Annotated[
    str,
    typer.Option(
        envvar="DESCRIPTOR_PATH",
        help="Files with descriptor sets, for protobuf payloads (protoc --descriptor_set_out).",
    ),
]

DEFAULT_ADDRESS: Final = "127.0.0.1:1310"


def configure(
    app: App,
    *,
    config: Path | None,
    data: Path | None,
    store: str = "",
    select: str = "",
    more: dict[str, object] | None = None,
) -> None:
    """Lay the flags over the app's own settings."""
    code: dict[str, object] = dict(more or {})
    if store:
        code |= {key: Flag(value, "--store") for key, value in store_settings(store).items()}
    if data is not None:
        code["storage.path"] = Flag(str(data), "--data")
        if app.config.storage.type == "memory":
            code["storage.type"] = Flag("rocksdb", "--data")
    app.configure(code, path=config, select=select)


def start_logging(text: str) -> None:
    """Log to stderr by `log.filter`: a level, or logger=level items, separated by commas."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, separator, level = item.rpartition("=")
        number = logging.getLevelNamesMapping().get(
            level.upper().replace("WARN", "WARNING", 1)
            if level.upper() == "WARN"
            else level.upper()
        )
        if number is None or (separator and not name):
            allowed = "a level (debug, info, warning, error) or logger=level"
            raise InvalidInput("log.filter", allowed, item)
        logging.getLogger(name or "angzarr").setLevel(number)
