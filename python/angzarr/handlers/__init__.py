"""What users write: pure classes, no I/O."""

from angzarr.handlers.aggregate import Aggregate, reject
from angzarr.handlers.decorators import (
    applies,
    command,
    compensates,
    projects,
    rejected,
    upcasts,
)
from angzarr.handlers.local import LocalCommandHandler
from angzarr.handlers.local_projector import LocalProjector
from angzarr.handlers.notifications import Compensation, Rejection, Revocation
from angzarr.handlers.projector import Projector, Service
from angzarr.handlers.trigger import Trigger
from angzarr.handlers.upcaster import LocalUpcaster, Upcaster

__all__ = [
    "Aggregate",
    "Compensation",
    "LocalCommandHandler",
    "LocalProjector",
    "LocalUpcaster",
    "Projector",
    "Rejection",
    "Revocation",
    "Service",
    "Trigger",
    "Upcaster",
    "applies",
    "command",
    "compensates",
    "projects",
    "reject",
    "rejected",
    "upcasts",
]
