"""What users write: pure classes, no I/O."""

from angzarr.handlers.aggregate import Aggregate, reject, sagas_of
from angzarr.handlers.decorators import (
    applies,
    command,
    compensates,
    handles,
    prepares,
    projects,
    rejected,
    routes,
    upcasts,
    wakes,
)
from angzarr.handlers.local import LocalCommandHandler
from angzarr.handlers.local_process_manager import LocalProcessManager
from angzarr.handlers.local_projector import LocalProjector
from angzarr.handlers.local_saga import LocalSaga
from angzarr.handlers.notifications import Compensation, Rejection, Revocation
from angzarr.handlers.outputs import Cancel, Output, Record, Schedule, Send
from angzarr.handlers.process_manager import ProcessManager
from angzarr.handlers.projector import Projector, Service
from angzarr.handlers.saga import Saga
from angzarr.handlers.trigger import Trigger
from angzarr.handlers.upcaster import LocalUpcaster, Upcaster

__all__ = [
    "Aggregate",
    "Cancel",
    "Compensation",
    "LocalCommandHandler",
    "LocalProcessManager",
    "LocalProjector",
    "LocalSaga",
    "LocalUpcaster",
    "Output",
    "ProcessManager",
    "Projector",
    "Record",
    "Rejection",
    "Revocation",
    "Saga",
    "Schedule",
    "Send",
    "Service",
    "Trigger",
    "Upcaster",
    "applies",
    "command",
    "compensates",
    "handles",
    "prepares",
    "projects",
    "reject",
    "rejected",
    "routes",
    "sagas_of",
    "upcasts",
    "wakes",
]
