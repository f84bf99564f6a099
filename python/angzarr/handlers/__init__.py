"""What users write: pure classes, no I/O."""

from angzarr.handlers.aggregate import Aggregate, reject
from angzarr.handlers.decorators import applies, command, compensates, rejected, upcasts
from angzarr.handlers.local import LocalCommandHandler
from angzarr.handlers.notifications import Compensation, Rejection, Revocation
from angzarr.handlers.upcaster import LocalUpcaster, Upcaster

__all__ = [
    "Aggregate",
    "Compensation",
    "LocalCommandHandler",
    "LocalUpcaster",
    "Rejection",
    "Revocation",
    "Upcaster",
    "applies",
    "command",
    "compensates",
    "reject",
    "rejected",
    "upcasts",
]
