"""The heart: commands, facts, queries and live streams over ports, bytes in and bytes out."""

from angzarr.coordinators.command import CommandCoordinator
from angzarr.coordinators.dead_letters import DlqAdmin
from angzarr.coordinators.options import (
    Backoff,
    CommandOptions,
    QueryOptions,
    SnapshotOptions,
    StreamOptions,
)
from angzarr.coordinators.query import QueryCoordinator
from angzarr.coordinators.reactions import Reacted, Reactions
from angzarr.coordinators.stream import StreamCoordinator

__all__ = [
    "Backoff",
    "CommandCoordinator",
    "CommandOptions",
    "DlqAdmin",
    "QueryCoordinator",
    "QueryOptions",
    "Reacted",
    "Reactions",
    "SnapshotOptions",
    "StreamCoordinator",
    "StreamOptions",
]
