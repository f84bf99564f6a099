"""All claims about an event store, as one class to subclass."""

from angzarr.testing.contracts.append import AppendContract
from angzarr.testing.contracts.branch_bases import BranchBaseContract
from angzarr.testing.contracts.cascades import CascadeContract
from angzarr.testing.contracts.correlation import CorrelationContract
from angzarr.testing.contracts.deletion import DeletionContract
from angzarr.testing.contracts.durability import DurabilityContract
from angzarr.testing.contracts.editions import EditionContract
from angzarr.testing.contracts.idempotency import IdempotencyContract
from angzarr.testing.contracts.log import LogContract
from angzarr.testing.contracts.read import ReadContract
from angzarr.testing.contracts.reaping import ReapingContract
from angzarr.testing.contracts.release import ReleaseContract


class EventStoreContract(
    AppendContract,
    ReadContract,
    CorrelationContract,
    EditionContract,
    BranchBaseContract,
    DeletionContract,
    IdempotencyContract,
    CascadeContract,
    ReapingContract,
    LogContract,
    ReleaseContract,
    DurabilityContract,
):
    """The claims of STO-40 to STO-46, and those of closing and opening again for all ports."""
