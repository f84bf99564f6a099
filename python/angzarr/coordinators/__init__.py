"""The heart: commands, facts, queries, live streams and reactions over ports, bytes in and out."""

from angzarr.coordinators.command import CommandCoordinator
from angzarr.coordinators.dead_letters import DlqAdmin
from angzarr.coordinators.editions import EditionCoordinator
from angzarr.coordinators.options import (
    Backoff,
    CommandOptions,
    EditionOptions,
    QueryOptions,
    ReactionOptions,
    SnapshotOptions,
    StreamOptions,
)
from angzarr.coordinators.process_manager import ProcessManagerCoordinator
from angzarr.coordinators.query import QueryCoordinator
from angzarr.coordinators.reaction import Means
from angzarr.coordinators.reactions import Reacted, Reactions
from angzarr.coordinators.saga import SagaCoordinator
from angzarr.coordinators.stream import StreamCoordinator

__all__ = [
    "Backoff",
    "CommandCoordinator",
    "CommandOptions",
    "DlqAdmin",
    "EditionCoordinator",
    "EditionOptions",
    "Means",
    "ProcessManagerCoordinator",
    "QueryCoordinator",
    "QueryOptions",
    "Reacted",
    "ReactionOptions",
    "Reactions",
    "SagaCoordinator",
    "SnapshotOptions",
    "StreamCoordinator",
    "StreamOptions",
]
