"""`angzarr send`: one command to a running server."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from angzarr import points
from angzarr.calls import Merge, Sent
from angzarr.cli import options
from angzarr.cli.outcome import told
from angzarr.cli.payloads import Payloads, compact, read_json
from angzarr.client import connect_sync


def send(
    domain: Annotated[str, typer.Argument(help="The aggregate's domain.")],
    root: Annotated[str, typer.Argument(help="A name, or a UUID.")],
    type_name: Annotated[
        str, typer.Argument(metavar="TYPE", help="Deposit, or the full name account.Deposit.")
    ],
    payload: Annotated[
        str, typer.Argument(metavar="JSON", help="The command's fields; - reads stdin.")
    ] = "{}",
    address: options.Address = options.DEFAULT_ADDRESS,
    edition: options.Edition = "",
    expected: Annotated[
        int | None, typer.Option("--expected-sequence", min=0, help="Refuse if the stream moved.")
    ] = None,
    merge: Annotated[
        str, typer.Option(help="commutative, strict, aggregate_handles or manual.")
    ] = "",
    idempotency: Annotated[
        str, typer.Option(help="A key of yours: the same command with it is executed once.")
    ] = "",
    correlation_id: Annotated[str, typer.Option(help="Goes with the events.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Show the events; store nothing.")] = False,
    at: options.At = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,
    descriptors: options.Descriptors = "",
    timeout_s: options.Timeout = 10.0,
) -> None:
    """Send a command and print the events that it led to.

    Example: angzarr send account alice Deposit '{"amount_cents": 500}'

    With --at the command is decided on the past; that is a dry run always.
    """
    with told(address), connect_sync(address) as client:
        payloads = Payloads(descriptors)
        command = payloads.pack(type_name, read_json(payload), domain)
        target = client.domain(domain, edition=edition)
        try:
            if dry_run or at:
                point = points.parse(at, "--at") if at else None
                sent = target.speculate(root, command, at=point, timeout_s=timeout_s)
            else:
                sent = target.send(
                    root,
                    command,
                    correlation_id=correlation_id,
                    expected_sequence=expected,
                    merge=_merge(merge),
                    idempotency=idempotency,
                    timeout_s=timeout_s,
                )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        _show(sent, payloads, as_json)


def _merge(text: str) -> Merge | None:
    match text:
        case "":
            return None
        case "commutative" | "strict" | "aggregate_handles" | "manual":
            return text
        case _:
            raise typer.BadParameter(
                f"{text!r}: one of commutative, strict, aggregate_handles, manual",
                param_hint="--merge",
            )


def _show(sent: Sent, payloads: Payloads, as_json: bool) -> None:
    for event in sent.events:
        row = payloads.row(event)
        if as_json:
            sys.stdout.write(compact(row) + "\n")
        else:
            sys.stdout.write(f"{event.sequence}  {event.type_name}  {compact(row['payload'])}\n")
    if not sent.events and not as_json:
        sys.stdout.write("accepted; no events\n")
    sys.stdout.flush()


command = send
