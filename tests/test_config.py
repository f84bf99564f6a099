"""Configuration: sources in their order, and what is refused."""

from pathlib import Path

import pytest

from angzarr.config import Config, load
from angzarr.config_sources import LATER, Flag
from angzarr.errors import InvalidInput


def read(tmp_path: Path, **environ: str) -> Config:
    return load(environ=environ, directory=tmp_path)


def refusal(tmp_path: Path, **environ: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, **environ)
    return caught.value


def test_without_sources_everything_is_at_its_default(tmp_path: Path) -> None:
    config = read(tmp_path)

    assert {origin for _, _, origin in config.rows()} == {"default"}


@pytest.mark.spec("OPS-10")
def test_the_server_listens_on_loopback_unless_told_otherwise(tmp_path: Path) -> None:
    assert read(tmp_path).listen == ("127.0.0.1", 1310)


@pytest.mark.spec("OPS-8")
def test_each_source_wins_over_the_ones_before_it(tmp_path: Path) -> None:
    port = "server: {port: %d}"
    (tmp_path / "config.yaml").write_text(port % 2)
    flag, named = tmp_path / "flag.toml", tmp_path / "named.yaml"
    flag.write_text("[server]\nport = 3")
    named.write_text(port % 4)
    environ: dict[str, str] = {}
    code: dict[str, object] = {}

    def value(path: Path | None = None) -> tuple[int, str]:
        config = load(path=path, code=code, environ=environ, directory=tmp_path)
        return config.server.port, config.origin("server.port")

    found = [value(), value(flag)]
    environ["ANGZARR_CONFIG"] = str(named)
    found.append(value(flag))
    environ["ANGZARR__SERVER__PORT"] = "5"
    found.append(value(flag))
    environ["ANGZARR_COORDINATOR_PORT"] = "6"
    found.append(value(flag))
    code["server.port"] = Flag(7, "--port")
    found.append(value(flag))

    assert found == [
        (2, str(tmp_path / "config.yaml")),
        (3, f"{flag} (--config)"),
        (4, f"{named} (ANGZARR_CONFIG)"),
        (5, "ANGZARR__SERVER__PORT"),
        (6, "ANGZARR_COORDINATOR_PORT"),
        (7, "--port"),
    ]


@pytest.mark.spec("OPS-8")
def test_sources_are_merged_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[limits]\nmax_pages_per_book = 7\nwriter_queue = 8")

    limits = read(tmp_path, ANGZARR__LIMITS__WRITER_QUEUE="9").limits

    assert (limits.max_pages_per_book, limits.writer_queue) == (7, 9)


@pytest.mark.spec("OPS-8")
@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ANGZARR__LIMITS__MAX_PAYLOAD_BYTE", "limits.max_payload_bytes"),
        ("ANGZARR__STORGE__PATH", "storage"),
        ("ANGZARR__TRANSPORT__TCP__PROT", "transport.tcp.port"),
        ("ANGZARR_CONFG", "ANGZARR_CONFIG"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path, name: str, near: str) -> None:
    assert f"did you mean {near}?" in str(refusal(tmp_path, **{name: "5"}))


@pytest.mark.spec("OPS-8")
def test_an_unknown_key_of_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {prot: 5}")

    message = str(refusal(tmp_path))

    assert f"unknown key server.prot = 5 ({tmp_path / 'config.yaml'})" in message


@pytest.mark.spec("OPS-8")
@pytest.mark.parametrize("value", ["0", "70000000", "many"])
def test_a_value_outside_its_range_names_key_value_and_range(tmp_path: Path, value: str) -> None:
    error = refusal(tmp_path, ANGZARR__LIMITS__MAX_PAYLOAD_BYTES=value)

    assert (error.field, error.limit, error.value) == (
        "limits.max_payload_bytes",
        "an integer from 1 to 67108864",
        value,
    )


@pytest.mark.spec("OPS-8")
def test_a_choice_that_does_not_exist_names_those_that_do(tmp_path: Path) -> None:
    error = refusal(tmp_path, ANGZARR__STORAGE__TYPE="rocks")

    assert error.limit == "'rocksdb', 'rocksdict', 'memory' or 'grpc'"


@pytest.mark.spec("OPS-8")
def test_two_default_files_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "config.toml").write_text("")

    assert "both config.yaml and config.toml exist" in str(refusal(tmp_path))


@pytest.mark.parametrize("name", ["x.yaml", "x.toml"])
def test_a_file_that_does_not_parse_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{[")

    with pytest.raises(InvalidInput, match=f"{name} does not parse"):
        load(path=tmp_path / name, environ={}, directory=tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read .*gone.yaml: No such file"):
        load(path=tmp_path / "gone.yaml", environ={}, directory=tmp_path)


@pytest.mark.spec("OPS-9")
@pytest.mark.parametrize("key", sorted(LATER))
def test_a_part_that_is_not_in_this_release_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidInput, match=f"{key}.*not in this release"):
        load(code={key: {"x": "y"}}, environ={}, directory=tmp_path)


@pytest.mark.spec("OPS-9")
@pytest.mark.parametrize("name", ["CLOUDEVENTS_SINK", "EVENT_QUERY_ADDRESS"])
def test_a_variable_of_a_part_that_is_not_in_this_release_is_refused(
    tmp_path: Path, name: str
) -> None:
    assert "not in this release" in str(refusal(tmp_path, **{name: "x"}))


@pytest.mark.spec("OPS-9")
@pytest.mark.parametrize("store", ["postgres", "sqlite", "redis", "nats"])
def test_a_store_that_is_not_in_this_release_is_refused(tmp_path: Path, store: str) -> None:
    message = str(refusal(tmp_path, ANGZARR__STORAGE__TYPE=store))

    assert f"the {store} store is not in this release" in message


@pytest.mark.spec("OPS-9")
def test_other_discovery_than_static_is_refused(tmp_path: Path) -> None:
    assert "static discovery" in str(refusal(tmp_path, ANGZARR_DISCOVERY="kubernetes"))


def test_a_part_that_is_switched_off_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("payload_offload: {enabled: false}\nsagas: []")

    assert read(tmp_path).origin("payload_offload.enabled") == "default"


@pytest.mark.spec("OPS-9")
def test_the_outbox_switch_is_accepted_without_effect(tmp_path: Path) -> None:
    assert list(read(tmp_path, ANGZARR_OUTBOX_ENABLED="1").rows()) == list(read(tmp_path).rows())


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("ANGZARR_GRPC_MESSAGE_SIZE_KB", "2048", "server.message_size_kb"),
        ("ANGZARR_LOG", "debug", "log.filter"),
        ("ANGZARR_UPCASTER_ADDRESS", "h:1", "upcaster.address"),
        ("TRANSPORT_TYPE", "uds", "transport.type"),
        ("UDS_BASE_PATH", "/run/x", "transport.uds.base_path"),
        ("DESCRIPTOR_PATH", "/x", "descriptor_path"),
    ],
)
def test_bare_names_of_the_protocol_set_their_keys(
    tmp_path: Path, name: str, value: str, key: str
) -> None:
    rows = {k: (str(v), origin) for k, v, origin in read(tmp_path, **{name: value}).rows()}

    assert rows[key] == (value, name)


@pytest.mark.spec("DEP-2")
def test_two_variables_with_different_endpoints_of_one_domain_stop_the_start(
    tmp_path: Path,
) -> None:
    message = str(
        refusal(tmp_path, ANGZARR_STATIC_ENDPOINTS="order=a:1", ANGZARR_AGGREGATE_ORDER="b:2")
    )

    assert "ANGZARR_STATIC_ENDPOINTS" in message
    assert "ANGZARR_AGGREGATE_ORDER" in message


def test_a_static_endpoint_without_an_address_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, ANGZARR_STATIC_ENDPOINTS="order").limit.startswith("domain=address")


def test_a_list_in_a_variable_is_json(tmp_path: Path) -> None:
    entries = '[{"domain": "order", "address": "h", "port": 5}]'

    config = read(tmp_path, ANGZARR__CLIENT_LOGIC=entries)

    assert config.client_logic[0].endpoint == "tcp://h:5"


@pytest.mark.spec("DLQ-6")
def test_targets_of_dead_letters_are_a_chain_with_their_own_settings(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "dlq: {targets: [{type: filesystem, path: dead, max_files: 9}, {type: store}, "
        "{type: logging}, {type: channel}]}"
    )

    targets = read(tmp_path).dlq.targets

    found = [(target.type, target.path, target.max_files) for target in targets]
    assert found == [
        ("filesystem", "dead", 9), ("store", "", 0), ("logging", "", 0), ("channel", "", 0),
    ]  # fmt: skip


@pytest.mark.spec("DLQ-6")
def test_without_targets_the_chain_is_empty_and_files_are_unlimited(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("dlq: {targets: [{type: filesystem, path: dead}]}")

    assert read(tmp_path).dlq.targets[0].max_files == 0
    assert load(environ={}, directory=tmp_path / "none").dlq.targets == []


@pytest.mark.spec("DLQ-6", "OPS-9")
@pytest.mark.parametrize(
    "name",
    ["amqp", "kafka", "pubsub", "sns-sqs", "nats", "database", "offload_s3", "offload_filesystem"],
)
def test_targets_that_are_not_in_this_release_are_refused(tmp_path: Path, name: str) -> None:
    entries = f'[{{"type": "store"}}, {{"type": "{name}", "topic": "x"}}]'

    error = refusal(tmp_path, ANGZARR__DLQ__TARGETS=entries)

    assert error.field == "dlq.targets.1.type"
    assert f"dead letters to {name} are not in this release" in str(error)


@pytest.mark.spec("DLQ-6", "OPS-8")
@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ('[{"type": "mail"}]', "dlq.targets.0.type = 'mail'"),
        ('[{"type": "filesystem"}]', "dlq.targets.0.path must be the directory"),
        ('[{"path": "x"}]', "only a filesystem target has one, not store"),
        ('[{"type": "logging", "max_files": 2}]', "dlq.targets.0.max_files: only a filesystem"),
        ('[{"type": "filesystem", "path": "x", "max_files": -1}]', "an integer from 0 to"),
        ('[{}, {"type": "logging"}, {"type": "store"}]', "dlq.targets.2: store is among the"),
        (
            '[{"type": "filesystem", "path": "x"}, {"type": "filesystem", "path": "./x"}]',
            "dlq.targets.1: filesystem is among the targets",
        ),
        ('[{"typ": "store"}]', "did you mean dlq.targets.0.type?"),
        ('["store"]', "dlq.targets.0 = 'store'"),
        ("store", "dlq.targets = 'store'"),
    ],
)
def test_a_target_that_is_wrong_is_refused_with_its_place(
    tmp_path: Path, entries: str, said: str
) -> None:
    assert said in str(refusal(tmp_path, ANGZARR__DLQ__TARGETS=entries))


def test_server_and_transport_that_disagree_on_the_port_are_refused(tmp_path: Path) -> None:
    config = read(tmp_path, ANGZARR__SERVER__PORT="5", ANGZARR__TRANSPORT__TCP__PORT="6")

    with pytest.raises(InvalidInput, match=r"conflicts with transport.tcp.port = 6"):
        _ = config.listen


def test_the_port_in_the_protocols_own_words_is_the_listening_port(tmp_path: Path) -> None:
    assert read(tmp_path, ANGZARR__TRANSPORT__TCP__PORT="6").listen == ("127.0.0.1", 6)


def test_a_flag_wins_over_the_port_in_the_protocols_own_words(tmp_path: Path) -> None:
    config = read(tmp_path, ANGZARR__TRANSPORT__TCP__PORT="6")

    assert config.with_code({"server.port": Flag(7, "--port")}).listen == ("127.0.0.1", 7)


def test_settings_laid_over_a_configuration_leave_it_as_it_was(tmp_path: Path) -> None:
    config = read(tmp_path)

    other = config.with_code({"storage.path": "elsewhere"})

    assert (config.storage.path, other.storage.path) == ("data", "elsewhere")


def test_a_domain_without_its_own_snapshot_rule_has_the_general_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "snapshots: {every: 50, domains: {order: {every: 10, keep_last: 2}}}"
    )

    snapshots = read(tmp_path).snapshots

    assert [snapshots.rule(d).every for d in ("order", "account")] == [10, 50]


def test_variables_of_the_projects_own_tools_are_left_alone(tmp_path: Path) -> None:
    assert read(tmp_path, ANGZARR_TEST_X="1", ANGZARR_FAILPOINTS="x").storage.type == "rocksdb"


@pytest.mark.spec("OPS-12")
@pytest.mark.parametrize(("transport", "service"), [("uds", "shop"), ("tcp", "angzarr")])
def test_the_sockets_name_comes_from_common_variables_with_uds_only(
    tmp_path: Path, transport: str, service: str
) -> None:
    config = read(tmp_path, TRANSPORT_TYPE=transport, SERVICE_NAME="shop")

    assert config.transport.uds.service == service


@pytest.mark.spec("COMP-6", "COMP-9", "COMP-11", "SYNC-4")
def test_compensation_is_set_up_as_the_specification_says_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    config = load(environ={}, directory=tmp_path)

    assert config.saga_compensation.model_dump() == {
        "max_attempts": 10,
        "fallback_domain": "angzarr-saga-failures",
        "fallback_emit_system_revocation": True,
        "fallback_send_to_dlq": False,
        "fallback_escalate": False,
        "escalation_webhook_url": "",
        "dead_letter_queue_url": "",
    }
    assert config.limits.max_cascade_depth == 32


@pytest.mark.spec("COMP-6", "COMP-10", "COMP-11", "OPS-8")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_attempts", 3),
        ("fallback_domain", "mishaps"),
        ("fallback_emit_system_revocation", False),
        ("fallback_escalate", True),
        ("escalation_webhook_url", "https://example.org:8443/hook?team=a"),
        ("dead_letter_queue_url", "file:///var/lib/letters"),
    ],
)
def test_compensation_is_configurable(tmp_path: Path, key: str, value: object) -> None:
    config = load(code={f"saga_compensation.{key}": value}, environ={}, directory=tmp_path)

    assert getattr(config.saga_compensation, key) == value


@pytest.mark.spec("OPS-8")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("saga_compensation.max_attempts", 0),
        ("saga_compensation.fallback_domain", "Mishaps"),
        ("saga_compensation.escalation_webhook_url", "example.org"),
        ("saga_compensation.fallback", "x"),
        ("limits.max_cascade_depth", -1),
    ],
)
def test_wrong_compensation_stops_the_start(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=key):
        load(code={key: value}, environ={}, directory=tmp_path)
