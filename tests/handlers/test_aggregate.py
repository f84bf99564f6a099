"""Mistakes in an aggregate class are told when it is made, in the names of its author."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
from bank import Account, Deposit, Deposited, Move, Noted
from google.protobuf.duration_pb2 import Duration

from angzarr import (
    Aggregate,
    Compensation,
    Rejection,
    applies,
    command,
    compensates,
    rejected,
    wire,
)


class Opaque:
    pass


@dataclass(frozen=True)
class Holder:
    opaque: Opaque


@dataclass(frozen=True)
class Framework:
    __type_name__ = "angzarr.NoOp"


def no_domain():
    class Broken(Aggregate): ...


def bad_domain():
    class Broken(Aggregate, domain="Account"): ...


def reserved_domain():
    class Broken(Aggregate, domain="_account"): ...


def long_domain():
    class Broken(Aggregate, domain="a" * 65): ...


def unannotated_parameter():
    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd) -> None: ...


def unannotated_return():
    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd: Deposit): ...


def unknown_name():
    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd: Nowhere) -> None: ...  # noqa: F821


def unknown_field_type():
    class Broken(Aggregate, domain="account"):
        field: Nowhere = None  # noqa: F821


def two_commands():
    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd: Deposit) -> None: ...
        @command
        def again(self, cmd: Deposit) -> None: ...


def two_appliers():
    class Broken(Aggregate, domain="account"):
        @applies
        def deposited(self, event: Deposited) -> None: ...
        @applies
        def again(self, event: Deposited | Noted) -> None: ...


def two_classes_of_one_name():
    other = dataclass(type("Deposit", (), {}))

    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd: Deposit) -> None: ...
        @command
        def again(self, cmd: other) -> None: ...


def unapplied_event():
    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd: Deposit) -> Deposited: ...


def unapplied_event_in_a_list():
    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd: Deposit) -> list[Deposited | Noted] | None: ...
        @applies
        def deposited(self, event: Deposited) -> None: ...


def not_a_payload():
    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd: int) -> None: ...


def not_a_class():
    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd: list[Deposit]) -> None: ...


def payload_without_json():
    class Broken(Aggregate, domain="account"):
        @applies
        def held(self, event: Holder) -> None: ...


def framework_event():
    class Broken(Aggregate, domain="account"):
        @applies
        def noop(self, event: Framework) -> None: ...


def framework_message():
    class Broken(Aggregate, domain="account"):
        @applies
        def noop(self, event: wire.NoOp) -> None: ...


def field_without_default():
    class Broken(Aggregate, domain="account"):
        history: list[int]


def field_without_json():
    class Broken(Aggregate, domain="account"):
        opaque: Opaque = Opaque()


def message_beside_fields():
    class Broken(Aggregate, domain="account"):
        state: Duration
        other: int = 0


def async_applier():
    class Broken(Aggregate, domain="account"):
        @applies
        async def deposited(self, event: Deposited) -> None: ...


def applier_with_result():
    class Broken(Aggregate, domain="account"):
        @applies
        def deposited(self, event: Deposited) -> Deposited: ...


def two_parameters():
    class Broken(Aggregate, domain="account"):
        @command
        def deposit(self, cmd: Deposit, more: int) -> None: ...


def override_without_decorator():
    class Broken(Account, domain="account"):
        def deposit(self, cmd: Deposit) -> Deposited: ...


def two_decorators():
    class Broken(Aggregate, domain="account"):
        @command
        @applies
        def deposit(self, cmd: Deposit) -> None: ...


def hides_table():
    class Broken(Aggregate, domain="account"):
        table: int = 0


def rejected_of_what():
    class Broken(Aggregate, domain="account"):
        @rejected
        def refused(self, rejection: Deposit) -> None: ...


def two_rejected():
    class Broken(Aggregate, domain="account"):
        @rejected
        def refused(self, rejection: Rejection[Deposit]) -> None: ...
        @rejected
        def again(self, rejection: Rejection[Deposit]) -> None: ...


def two_compensates():
    class Broken(Aggregate, domain="account"):
        @compensates
        def undo(self, compensation: Compensation) -> None: ...
        @compensates
        def again(self, compensation: Compensation) -> None: ...


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (no_domain, "Broken needs a domain"),
        (bad_domain, "Broken: domain 'Account'"),
        (reserved_domain, "Broken: domain '_account'"),
        (long_domain, "Broken: domain"),
        (unannotated_parameter, r"Broken\.deposit lacks the annotation of parameter 'cmd'"),
        (unannotated_return, r"Broken\.deposit lacks the annotation of its return value"),
        (unknown_name, r"Broken\.deposit is annotated with 'Nowhere'"),
        (unknown_field_type, "Broken is annotated with 'Nowhere'"),
        (two_commands, r"Broken\.again and Broken\.deposit both handle command account\.Deposit"),
        (two_appliers, r"Broken\.again and deposited both handle event account\.Deposited"),
        (two_classes_of_one_name, r"Broken\.again and Broken\.deposit both .*account\.Deposit"),
        (unapplied_event, r"Broken\.deposit returns Deposited, which no @applies method of Broken"),
        (unapplied_event_in_a_list, r"Broken\.deposit returns Noted"),
        (not_a_payload, r"Broken\.deposit: int is neither a dataclass nor a protobuf message"),
        (not_a_class, r"Broken\.deposit is annotated list"),
        (payload_without_json, r"Broken\.held: Holder\.opaque has type Opaque"),
        (framework_event, r"Broken\.noop: angzarr\.NoOp is a name of the framework"),
        (framework_message, r"Broken\.noop: angzarr\.NoOp is a name of the framework"),
        (field_without_default, r"Broken\.history needs a default"),
        (field_without_json, r"Broken\.opaque has type Opaque.*starts with _"),
        (message_beside_fields, r"Broken\.state is a protobuf message"),
        (async_applier, r"Broken\.deposited is async"),
        (applier_with_result, r"Broken\.deposited must return None, not Deposited"),
        (two_parameters, r"Broken\.deposit must take self and one payload"),
        (override_without_decorator, r"Broken\.deposit overrides a method with @command"),
        (two_decorators, r"Broken\.deposit has @applies and @command"),
        (hides_table, r"Broken\.table hides"),
        (rejected_of_what, r"Broken\.refused must take a Rejection"),
        (two_rejected, r"Broken\.again and refused both"),
        (two_compensates, r"Broken\.again and undo both"),
    ],
)
def test_a_mistake_is_told_when_the_class_is_made(mistake: Callable[[], None], told: str):
    with pytest.raises(TypeError, match=told):
        mistake()


def test_an_unknown_merge_strategy_is_told():
    with pytest.raises(ValueError, match="commutative, strict, aggregate_handles, manual"):
        command(merge="hopeful")


def test_a_decorator_refuses_what_is_no_method():
    with pytest.raises(TypeError, match="@command marks methods"):
        command(Deposit)


def test_the_merge_strategy_is_in_the_table():
    commands = Account.table().commands

    assert commands["account.Move"].merge == wire.MERGE_STRICT


def test_a_command_without_strategy_leaves_it_to_the_caller():
    assert Account.table().commands["account.Deposit"].merge is None


def test_an_aggregate_is_made_from_its_fields():
    assert Account(balance=3) == Account(balance=3, history=[], notes={})


def test_mutable_defaults_are_copied():
    first = Account()
    first.history.append(1)
    first.notes["a"] = 1

    assert (Account().history, Account().notes) == ([], {})


def test_class_variables_are_no_state():
    class Limited(Aggregate, domain="account"):
        limit: ClassVar[int] = 3
        balance: int = 0

    assert Limited.table().states.encode(Limited()) == b'{"balance":0}'


def test_a_subclass_has_the_handlers_and_the_state_of_its_base():
    class Savings(Account, domain="savings"):
        rate: float = 0.5

    table = Savings.table()
    assert set(table.commands) == {"savings.Deposit", "savings.Move", "savings.Break"}
    assert table.states.encode(Savings(balance=1)) == (
        b'{"balance":1,"history":[],"notes":{},"rate":0.5}'
    )


def test_a_method_may_take_several_types():
    class Counting(Aggregate, domain="account"):
        count: int = 0

        @command
        def any_of(self, cmd: Deposit | Move) -> None: ...

    assert Counting.table().command_types() == (Deposit, Move)
