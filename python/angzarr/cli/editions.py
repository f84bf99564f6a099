"""`angzarr editions`: branches of history, listed, made, compared, promoted, deleted."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from angzarr.cli import edition_views as views
from angzarr.cli import options
from angzarr.cli.letters import console
from angzarr.cli.outcome import EXIT_CODES, REFUSED, USAGE, fail, told
from angzarr.cli.payloads import Payloads, compact
from angzarr.client import connect_sync
from angzarr.cover import MAIN, Cover
from angzarr.editions import Choice, Declared, Promotion

Name = Annotated[str, typer.Argument(metavar="EDITION", help="The edition's name.")]
Domain = Annotated[str, typer.Option(help="Of this domain only.")]
Root = Annotated[str, typer.Option(help="One stream of the domain: a name, or a UUID.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Ttl = Annotated[str, typer.Option(help="Time to live from now on: 90s, 15m, 36h, 7d.")]
ExpiresAt = Annotated[str, typer.Option(help="End of life, as 2026-01-31T12:00:00Z.")]

UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

command = typer.Typer(
    help="List, make, compare, promote and delete branches of history.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@command.command("list", epilog=EXIT_CODES)
def list_editions(
    address: options.Address = options.DEFAULT_ADDRESS,
    domain: Domain = "",
    as_json: AsJson = False,
    timeout_s: options.Timeout = 30.0,
) -> None:
    """List all editions but main: what each is a branch of, and what it holds.

    Example: angzarr editions list --domain hand
    """
    with told(address), connect_sync(address) as client:
        found = client.editions.list(domain=domain, timeout_s=timeout_s)
        if as_json:
            for edition in found:
                sys.stdout.write(compact(views.row(edition)) + "\n")
            return
        editions = list(found)
        if editions:
            console().print(views.table(editions))
        else:
            sys.stderr.write("no editions but main\n")


@command.command(epilog=EXIT_CODES)
def show(
    name: Name,
    address: options.Address = options.DEFAULT_ADDRESS,
    domain: Domain = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="The edition as a JSON object, then one per stream.")
    ] = False,
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Show one edition, and where each of its streams left its base."""
    with told(address), connect_sync(address) as client:
        edition = client.editions.get(name, timeout_s=timeout_s)
        branches = client.editions.branches(name, domain=domain, timeout_s=timeout_s)
        if as_json:
            sys.stdout.write(compact(views.row(edition)) + "\n")
            for branch in branches:
                sys.stdout.write(compact(views.branch_row(branch)) + "\n")
            return
        console().print(views.sheet(edition))
        if found := list(branches):
            console().print()
            console().print(views.branches(found))


@command.command(epilog=EXIT_CODES)
def create(
    name: Name,
    address: options.Address = options.DEFAULT_ADDRESS,
    parent: Annotated[str, typer.Option(help="The edition that it is a branch of [main].")] = "",
    ttl: Ttl = "",
    expires_at: ExpiresAt = "",
    max_pages: Annotated[int, typer.Option(min=0, help="Quota of pages; 0 is none.")] = 0,
    max_bytes: Annotated[int, typer.Option(min=0, help="Quota of bytes; 0 is none.")] = 0,
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Declare an edition: a parent other than main, a time to live, a quota.

    A branch of main without limits needs none of this: it begins with its first command.

    Example: angzarr editions create what-if --ttl 7d --max-pages 10000
    """
    lifetime, expiry = _expiry(ttl, expires_at)
    with told(address), connect_sync(address) as client:
        declared = client.editions.declare(
            name,
            parent=parent,
            ttl=lifetime,
            expires_at=expiry,
            max_pages=max_pages,
            max_bytes=max_bytes,
            timeout_s=timeout_s,
        )
    _tell(declared)


@command.command("set", epilog=EXIT_CODES)
def set_limits(
    name: Name,
    address: options.Address = options.DEFAULT_ADDRESS,
    ttl: Ttl = "",
    expires_at: ExpiresAt = "",
    never: Annotated[bool, typer.Option("--never", help="It does not expire any more.")] = False,
    max_pages: Annotated[int | None, typer.Option(min=0, help="0 is no quota.")] = None,
    max_bytes: Annotated[int | None, typer.Option(min=0, help="0 is no quota.")] = None,
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Change limits of a declared edition; those that are not named stay."""
    lifetime, expiry = _expiry(ttl, expires_at)
    if never and (lifetime or expiry):
        raise typer.BadParameter("--never goes with neither --ttl nor --expires-at")
    with told(address), connect_sync(address) as client:
        record = client.editions.get(name, timeout_s=timeout_s).record
        if record is None:
            raise fail(f"edition {name} is not declared; angzarr editions create does it", USAGE)
        if not (never or lifetime or expiry):
            expiry = record.expires_at
        declared = client.editions.declare(
            name,
            parent=record.parent,
            ttl=lifetime,
            expires_at=expiry,
            max_pages=record.max_pages if max_pages is None else max_pages,
            max_bytes=record.max_bytes if max_bytes is None else max_bytes,
            timeout_s=timeout_s,
        )
    _tell(declared)


@command.command(epilog=EXIT_CODES)
def delete(
    name: Name,
    address: options.Address = options.DEFAULT_ADDRESS,
    yes: Yes = False,
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Delete an edition in every domain, and its record.

    Events of it that were published stay with who got them.
    """
    with told(address), connect_sync(address) as client:
        if not yes:
            edition = client.editions.get(name, timeout_s=timeout_s)
            console().print(views.sheet(edition))
            _ask(f"delete edition {name}?")
        deleted = client.editions.delete(name, timeout_s=timeout_s)
    for domain, count in deleted.page_counts.items():
        sys.stdout.write(f"{domain}: {count} pages deleted\n")
    if not deleted.page_counts:
        sys.stdout.write("the record is deleted\n" if deleted.was_declared else "was not there\n")


@command.command(epilog=EXIT_CODES)
def diff(
    edition: Annotated[str, typer.Argument(metavar="EDITION")],
    other: Annotated[
        str, typer.Argument(metavar="[OTHER]", help="What it is compared with [main].")
    ] = "",
    address: options.Address = options.DEFAULT_ADDRESS,
    domain: Domain = "",
    root: Root = "",
    as_json: AsJson = False,
    descriptors: options.Descriptors = "",
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Show where two editions differ: streams, events from there on, and both states.

    Example: angzarr editions diff what-if
    """
    left, right = (edition, other) if other else (MAIN, edition)
    with told(address), connect_sync(address) as client:
        payloads = Payloads(descriptors)
        count = 0
        for found in client.editions.diff(
            left, right, domain=domain, root=root or None, timeout_s=timeout_s
        ):
            count += 1
            if as_json:
                sys.stdout.write(compact(views.difference_row(found, payloads)) + "\n")
            else:
                sys.stdout.write(views.title(found) + "\n")
                sys.stdout.flush()
                console().print(views.difference(found, payloads))
        if not count:
            sys.stderr.write("no stream differs\n")


@command.command(epilog=EXIT_CODES)
def promote(
    name: Name,
    address: options.Address = options.DEFAULT_ADDRESS,
    domain: Domain = "",
    root: Root = "",
    sequences: Annotated[
        str, typer.Option(help="Of that stream's own events: 3,5-7; all without it.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report, and record nothing.")] = False,
    accept_conflicts: Annotated[
        bool, typer.Option("--accept-conflicts", help="Record in spite of conflicts.")
    ] = False,
    correlation_id: Annotated[str, typer.Option(help="Of the facts on main.")] = "",
    yes: Yes = False,
    as_json: AsJson = False,
    descriptors: options.Descriptors = "",
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Record events of a branch as facts on main, after a report of what main has changed since.

    With a conflict in any stream nothing is recorded, and the exit code is 3.

    Example: angzarr editions promote what-if --domain hand --root h1 --sequences 3-5
    """
    if ((root or sequences) and not domain) or (sequences and not root):
        raise typer.BadParameter("--root needs --domain, and --sequences needs both")
    if as_json and not (yes or dry_run):
        raise typer.BadParameter("--json asks nothing; it goes with --yes or --dry-run")
    choices = [Choice(domain, root or None, _sequences(sequences))] if domain else []
    with told(address), connect_sync(address) as client:
        payloads = Payloads(descriptors)

        def promoted(*, is_dry: bool) -> Promotion:
            return client.editions.promote(
                name,
                *choices,
                dry_run=is_dry,
                accept_conflicts=accept_conflicts,
                correlation_id=correlation_id,
                timeout_s=timeout_s,
            )

        report = promoted(is_dry=not yes or dry_run)
        _show(report, payloads, as_json=as_json)
        if not (yes or dry_run) and _would_record(report, accept_conflicts):
            _ask("record these events on main?")
            report = promoted(is_dry=False)
        if not as_json:
            for stream in report:
                if stream.events:
                    sys.stdout.write(views.recorded(stream) + "\n")
    _end(report, accept_conflicts)


def _show(report: Promotion, payloads: Payloads, *, as_json: bool) -> None:
    if as_json:
        for stream in report:
            sys.stdout.write(compact(views.promotion_row(stream, payloads)) + "\n")
    elif report.streams:
        console().print(views.promotion(report))
    else:
        sys.stderr.write("nothing to promote\n")


def _would_record(report: Promotion, accepts_conflicts: bool) -> bool:
    """Whether the promotion of a dry run would write anything."""
    if report.conflicts and not accepts_conflicts:
        return False
    return any(stream.judgement != "repeated" for stream in report)


def _end(report: Promotion, accepts_conflicts: bool) -> None:
    """Exit REFUSED where conflicts keep what was chosen from main."""
    left_out = [stream for stream in report.conflicts if not stream.events]
    if left_out and not (report.is_dry_run and accepts_conflicts):
        names = ", ".join(str(Cover(stream.domain, stream.root)) for stream in left_out)
        message = f"in conflict with what main has become: {names}; --accept-conflicts records it"
        raise fail(message, REFUSED)


def _tell(declared: Declared) -> None:
    parent = "main" if declared.parent == MAIN else declared.parent
    told = [f"edition {declared.name}: a branch of {parent}"]
    if declared.expires_at:
        told.append(f"expires {declared.expires_at:%Y-%m-%dT%H:%M:%SZ}")
    if declared.max_pages:
        told.append(f"at most {declared.max_pages} pages")
    if declared.max_bytes:
        told.append(f"at most {declared.max_bytes} bytes")
    sys.stdout.write(", ".join(told) + "\n")


def _ask(question: str) -> None:
    """Go on only after a yes; who can't be asked has to say --yes before."""
    try:
        is_wanted = typer.confirm(question, err=True)
    except typer.Abort:
        raise fail(f"{question} nobody answered; --yes says it beforehand", USAGE) from None
    if not is_wanted:
        raise fail("nothing was changed", REFUSED)


def _expiry(ttl: str, expires_at: str) -> tuple[timedelta | None, datetime | None]:
    if ttl and expires_at:
        raise typer.BadParameter("--ttl and --expires-at say the same thing; give one of them")
    if ttl:
        found = re.fullmatch(r"(\d+)([smhd])", ttl)
        if found is None:
            raise typer.BadParameter(f"{ttl!r} is no time like 90s, 15m, 36h or 7d")
        return timedelta(seconds=int(found[1]) * UNITS_S[found[2]]), None
    if not expires_at:
        return None, None
    try:
        moment = datetime.fromisoformat(expires_at)
    except ValueError:
        raise typer.BadParameter(f"{expires_at!r} is no time like 2026-01-31T12:00:00Z") from None
    return None, moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _sequences(text: str) -> Iterator[int]:
    """`3,5-7` as numbers."""
    for item in filter(None, text.split(",")):
        found = re.fullmatch(r"\s*(\d{1,10})(?:-(\d{1,10}))?\s*", item)
        if found is None:
            raise typer.BadParameter(f"--sequences: {item!r} is neither 3 nor 5-7")
        first, last = int(found[1]), int(found[2] or found[1])
        if last - first >= 100_000:
            raise typer.BadParameter(f"--sequences: {item!r} is too wide")
        yield from range(first, last + 1)
