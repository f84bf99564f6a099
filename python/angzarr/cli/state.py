"""`angzarr state`: what a stream comes to, now or as of a point in time."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from angzarr import calls, codec, points, wire
from angzarr.cli import options
from angzarr.cli.outcome import told
from angzarr.cli.payloads import Json, Payloads, compact
from angzarr.client import connect_sync


def state(
    domain: Annotated[str, typer.Argument(help="The aggregate's domain.")],
    root: Annotated[str, typer.Argument(help="A name, or a UUID.")],
    address: options.Address = options.DEFAULT_ADDRESS,
    edition: options.Edition = "",
    at: options.At = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on one line.")] = False,
    descriptors: options.Descriptors = "",
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Print the state of one aggregate, as the server's own class or handler makes it.

    Example: angzarr state hand h1 --at 12
    """
    with told(address), connect_sync(address) as client:
        point = points.parse(at, "--at") if at else None
        cover = calls.Target(domain, edition).cover(root)
        request = calls.query(cover, at=point)
        answer = client.transport.unary(calls.GET_STATE, request, timeout_s=timeout_s)
        found = wire.StateResponse.FromString(answer)
        if not found.HasField("state"):
            sys.stderr.write(f"no events in {domain}/{root}\n")
            return
        opened = Payloads(descriptors).open(found.state)
    if as_json:
        row: dict[str, Json] = {
            "domain": domain,
            "root": found.cover.root.value.hex(),
            "sequence": found.next_sequence - 1,
            "type": codec.full_name(found.state.type_url),
            "state": opened,
        }
        if edition:
            row["edition"] = found.cover.edition.name
        sys.stdout.write(compact(row) + "\n")
    else:
        sys.stdout.write(json.dumps(opened, ensure_ascii=False, indent=2) + "\n")


command = state
