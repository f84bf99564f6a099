"""Components of clients in the configuration, in 0.3's words."""

import json
from pathlib import Path

import pytest

from angzarr.config import Config, load
from angzarr.config_targets import subscriptions_of
from angzarr.errors import InvalidInput
from angzarr.ports.components import Subscription

PAID = Subscription("order", ("OrderPaid", "shop.OrderClosed"))


def read(tmp_path: Path, text: str = "", /, **environ: str) -> Config:
    (tmp_path / "config.toml").write_text(text)
    return load(environ=environ, directory=tmp_path)


@pytest.mark.spec("SAGA-3")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("order", (Subscription("order"),)),
        ("order:OrderPaid,shop.OrderClosed", (PAID,)),
        (" order : OrderPaid , shop.OrderClosed ; * ", (PAID, Subscription("*"))),
        ("shop.*:Opened;", (Subscription("shop.*", ("Opened",)),)),
    ],
)
def test_subscriptions_are_domains_with_types(text: str, found: tuple[Subscription, ...]) -> None:
    assert subscriptions_of(text) == found


@pytest.mark.spec("SAGA-3", "OPS-9")
@pytest.mark.parametrize("text", ["Order", "order:1st", ":OrderPaid", "order:Paid:Closed", "a b"])
def test_what_is_no_subscription_stops_the_start_with_its_key(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"sagas\.0\.subscriptions"):
        read(tmp_path, f'[[sagas]]\nname = "shipping"\nport = 1\nsubscriptions = "{text}"')


@pytest.mark.spec("SAGA-3")
def test_the_variable_holds_for_those_that_name_none(tmp_path: Path) -> None:
    text = """
        [[sagas]]
        name = "shipping"
        port = 1
        [[process_managers]]
        name = "fulfilment"
        port = 2
        subscriptions = "table"
    """
    config = read(tmp_path, text, ANGZARR_SUBSCRIPTIONS="order:OrderPaid,shop.OrderClosed")

    assert config.sagas[0].wanted(config.subscriptions) == (PAID,)
    assert config.process_managers[0].wanted(config.subscriptions) == (Subscription("table"),)


def test_a_saga_without_subscriptions_takes_all_of_its_domain(tmp_path: Path) -> None:
    config = read(tmp_path, '[[sagas]]\nname = "shipping"\ndomain = "order"\nport = 1')

    assert config.sagas[0].wanted(config.subscriptions) == (Subscription("order"),)


@pytest.mark.spec("SAGA-1")
def test_another_routing_than_the_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"sagas\.0\.routing"):
        read(tmp_path, '[[sagas]]\nname = "s"\nport = 1\nrouting = {shipment = "random"}')


@pytest.mark.spec("OPS-9")
@pytest.mark.parametrize("line", ["", 'name = ""', 'name = "Shipping"', 'name = "a b"'])
def test_a_component_without_a_good_name_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(InvalidInput, match=r"projectors\.0"):
        read(tmp_path, f"[[projectors]]\n{line}\nport = 1")


def test_projectors_may_come_from_their_variable(tmp_path: Path) -> None:
    listed = [{"name": "board", "domain": "hand", "url": "http://h:9"}]

    config = read(tmp_path, ANGZARR_PROJECTORS=json.dumps(listed))

    assert config.projectors[0].endpoint == "tcp://h:9"
    assert config.projectors[0].wanted("") == (Subscription("hand"),)
    assert config.origin("projectors") == "ANGZARR_PROJECTORS"


@pytest.mark.spec("OPS-9")
@pytest.mark.parametrize(
    "text", ["board", "{}", '[{"name": "board"}]', '[{"name": "b", "domain": 1, "url": "h:9"}]']
)
def test_a_variable_with_something_else_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="ANGZARR_PROJECTORS"):
        read(tmp_path, ANGZARR_PROJECTORS=text)
