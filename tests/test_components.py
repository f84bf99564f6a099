"""The registry: names, endpoints and selection."""

from pathlib import Path

import pytest

from angzarr.components import Component, known, parse_endpoint, resolve, selected
from angzarr.config import load
from angzarr.errors import InvalidInput

NAMES = ["aggregate:account", "aggregate:order", "query:events", "stream:events"]


class Account: ...


class OtherAccount: ...


def found(tmp_path: Path, select: str = "*", /, **environ: str) -> dict[str, Component]:
    config = load(environ=environ, directory=tmp_path)
    return resolve({"aggregate:account": [Account]}, config, select)


@pytest.mark.spec("DEP-1")
def test_a_component_is_known_as_its_kind_and_name(tmp_path: Path) -> None:
    assert list(found(tmp_path)) == ["aggregate:account", "query:events", "stream:events"]


@pytest.mark.spec("DEP-1")
def test_two_classes_of_one_domain_stop_the_start_with_both_names(tmp_path: Path) -> None:
    config = load(environ={}, directory=tmp_path)

    with pytest.raises(InvalidInput) as caught:
        resolve({"aggregate:account": [Account, OtherAccount]}, config)

    assert "Account and" in str(caught.value)
    assert "OtherAccount" in str(caught.value)


@pytest.mark.spec("DEP-2")
def test_a_component_of_a_loaded_module_is_local(tmp_path: Path) -> None:
    assert found(tmp_path)["aggregate:account"].is_local


@pytest.mark.spec("DEP-2", "DEP-4")
@pytest.mark.parametrize(
    ("environ", "endpoint", "role"),
    [
        ({"ANGZARR_STATIC_ENDPOINTS": "account=h:1"}, "tcp://h:1", "coordinator"),
        ({"ANGZARR_AGGREGATE_ACCOUNT": "h:2"}, "tcp://h:2", "coordinator"),
        (
            {"ANGZARR__TARGET__DOMAIN": "account", "ANGZARR__TARGET__ADDRESS": "h:3"},
            "tcp://h:3",
            "handler",
        ),
        (
            {"ANGZARR__TARGET__DOMAIN": "account", "ANGZARR__TARGET__SOCKET": "/x.sock"},
            "unix:///x.sock",
            "handler",
        ),
    ],
)
def test_an_endpoint_comes_from_each_source(
    tmp_path: Path, environ: dict[str, str], endpoint: str, role: str
) -> None:
    component = found(tmp_path, **environ)["aggregate:account"]

    assert (component.endpoint, component.role) == (endpoint, role)


@pytest.mark.spec("DEP-2")
def test_explicit_configuration_wins_over_other_sources(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[components."aggregate:account"]\nendpoint = "tcp://h:9"'
    )

    component = found(tmp_path, ANGZARR_AGGREGATE_ACCOUNT="h:2")["aggregate:account"]

    assert component.endpoint == "tcp://h:9"


@pytest.mark.spec("DEP-2")
def test_sources_that_contradict_each_other_stop_the_start(tmp_path: Path) -> None:
    environ = {
        "ANGZARR_AGGREGATE_ACCOUNT": "h:2",
        "ANGZARR__TARGET__DOMAIN": "account",
        "ANGZARR__TARGET__ADDRESS": "h:3",
    }

    with pytest.raises(InvalidInput, match="has two endpoints"):
        found(tmp_path, **environ)


@pytest.mark.spec("DEP-16")
def test_a_component_without_endpoint_and_definition_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[components."aggregate:order"]\nrole = "handler"')

    with pytest.raises(InvalidInput, match=r"aggregate:order has no endpoint.*aggregate:account"):
        found(tmp_path)


@pytest.mark.parametrize("name", ["order", "robot:order", "gateway:rest"])
def test_a_component_of_no_kind_of_this_release_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.toml").write_text(f'[components."{name}"]\nendpoint = "tcp://h:9"')

    with pytest.raises(InvalidInput, match=name.partition(":")[0]):
        found(tmp_path)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("local", "local"),
        ("h:1", "tcp://h:1"),
        ("tcp://h:1", "tcp://h:1"),
        ("/a/b.sock", "unix:///a/b.sock"),
        ("unix:/a/b.sock", "unix:///a/b.sock"),
        ("unix:///a/b.sock", "unix:///a/b.sock"),
        ("[::1]:5", "tcp://[::1]:5"),
    ],
)
def test_an_endpoint_is_read_in_every_spelling(text: str, endpoint: str) -> None:
    assert parse_endpoint(text, "key") == endpoint


@pytest.mark.parametrize("text", ["h", "h:x", "h:70000", "http://h:1", "unix:a", ":1", ""])
def test_an_endpoint_that_does_not_parse_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="must be local, tcp://host:port or unix:///path"):
        parse_endpoint(text, "key")


@pytest.mark.spec("DEP-10")
@pytest.mark.parametrize(
    ("select", "names"),
    [
        ("*", NAMES),
        ("", NAMES),
        ("aggregate:order", ["aggregate:order"]),
        ("aggregate:order,stream:events", ["aggregate:order", "stream:events"]),
        ("*,-aggregate:order", ["aggregate:account", "query:events", "stream:events"]),
        ("-aggregate:*", ["query:events", "stream:events"]),
        ("aggregate:*, -aggregate:order", ["aggregate:account"]),
    ],
)
def test_a_selection_leaves_these_only(select: str, names: list[str]) -> None:
    assert selected(NAMES, select) == names


@pytest.mark.spec("DEP-16")
@pytest.mark.parametrize("select", ["aggregate:ordr", "*,-saga:x", "saga:*"])
def test_a_selection_that_names_nothing_lists_the_known_names(select: str) -> None:
    with pytest.raises(InvalidInput, match=", ".join(NAMES)):
        selected(NAMES, select)


@pytest.mark.spec("DEP-1", "DEP-2")
@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("sagas", "saga:shipping"),
        ("process_managers", "process_manager:shipping"),
        ("projectors", "projector:shipping"),
    ],
)
def test_a_clients_component_is_known_by_its_kind(tmp_path: Path, section: str, name: str) -> None:
    (tmp_path / "config.toml").write_text(f'[[{section}]]\nname = "shipping"\naddress = "h:7"')

    component = found(tmp_path)[name]

    assert (component.endpoint, component.role, component.origin.split("/")[-1]) == (
        "tcp://h:7",
        "handler",
        "config.toml",
    )


@pytest.mark.spec("DEP-16")
def test_a_clients_component_without_an_address_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[[sagas]]\nname = "shipping"')

    with pytest.raises(InvalidInput, match=r"sagas\.0\.address"):
        found(tmp_path)


@pytest.mark.spec("DEP-1")
def test_a_query_service_may_not_be_called_as_the_events_are(tmp_path: Path) -> None:
    config = load(environ={}, directory=tmp_path)

    with pytest.raises(InvalidInput, match="query:events is defined twice"):
        resolve({"query:events": [Account]}, config)


@pytest.mark.spec("DEP-10")
def test_what_is_not_selected_is_known_all_the_same(tmp_path: Path) -> None:
    config = load(environ={}, directory=tmp_path)
    classes = {"aggregate:account": [Account], "saga:shipping": [OtherAccount]}

    assert list(resolve(classes, config, "saga:shipping")) == ["saga:shipping"]
    assert "aggregate:account" in known(classes, config)


def placed(tmp_path: Path, name: str, role: str = "coordinator") -> None:
    (tmp_path / "config.toml").write_text(
        f'[components."{name}"]\nendpoint = "tcp://h:9"\nrole = "{role}"'
    )


@pytest.mark.spec("DEP-10", "DEP-12")
@pytest.mark.parametrize("select", ["saga:shipping", "saga:*", "query:events,saga:shipping"])
def test_what_select_names_runs_here_wherever_others_find_it(tmp_path: Path, select: str) -> None:
    placed(tmp_path, "saga:shipping")
    config = load(environ={}, directory=tmp_path)

    assert resolve({"saga:shipping": [Account]}, config, select)["saga:shipping"].is_local


@pytest.mark.spec("DEP-10", "DEP-12")
@pytest.mark.parametrize("select", ["*", "", "-query:events"])
def test_what_select_does_not_name_is_where_its_endpoint_says(tmp_path: Path, select: str) -> None:
    placed(tmp_path, "saga:shipping")
    config = load(environ={}, directory=tmp_path)

    assert not resolve({"saga:shipping": [Account]}, config, select)["saga:shipping"].is_local


def test_a_clients_handler_is_where_it_is_whoever_names_it(tmp_path: Path) -> None:
    placed(tmp_path, "aggregate:account", "handler")

    assert not found(tmp_path, "aggregate:account")["aggregate:account"].is_local
