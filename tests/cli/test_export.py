"""`angzarr export`: files of a server's store, or of one at rest."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest
from tests.cli.conftest import Run

from angzarr import data
from angzarr.cli.outcome import USAGE


@pytest.fixture
def export(run: Run, address: str) -> Run:
    """The command against a server that has three deposits."""
    for amount in (1, 2, 3):
        payload = json.dumps({"amount_cents": amount})
        run("send", "account", "alice", "Deposit", payload, "--address", address)
    return lambda *arguments: run("export", *arguments, "--address", address)


@pytest.mark.spec("DATA-12")
def test_a_servers_events_are_a_file_with_fields(export: Run, bank: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"

    done = export(bank, "--out", out, "--field", "cents=Deposited.amount_cents")

    assert done.exit_code == 0, done.output
    assert pyarrow.parquet.read_table(out)["cents"].to_pylist() == [1, 2, 3]
    assert done.stdout.splitlines()[1].endswith("--after 3")


@pytest.mark.spec("DATA-12")
def test_a_summary_is_json_where_that_is_asked_for(export: Run, tmp_path: Path) -> None:
    out = tmp_path / "rows.npz"

    summary = json.loads(export("--out", out, "--after", 1, "--json").stdout)

    assert summary["rows"] == 2
    assert summary["position"] == 3
    assert summary["size_bytes"] == out.stat().st_size
    assert data.load(out)["position"].tolist() == [2, 3]


@pytest.mark.spec("DATA-12")
def test_a_field_without_a_class_needs_a_kind(export: Run, tmp_path: Path) -> None:
    out = tmp_path / "rows.npz"
    field = "cents=account.Deposited.amount_cents"

    refused = export("--out", out, "--field", field)
    done = export("--out", out, "--field", f"{field}:int")

    assert refused.exit_code == USAGE
    assert "given a kind" in refused.stderr
    assert done.exit_code == 0, done.output
    assert data.load(out)["cents"].tolist() == [1, 2, 3]


@pytest.mark.spec("DATA-12")
def test_a_field_by_its_path_is_that_of_every_class(
    export: Run, bank: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.npz"

    done = export(bank, "--out", out, "--field", "amount_cents")

    assert done.exit_code == 0, done.output
    assert data.load(out)["amount_cents"].tolist() == [1, 2, 3]


def test_a_misspelt_field_is_told_with_the_nearest(export: Run, bank: Path, tmp_path: Path) -> None:
    done = export(bank, "--out", tmp_path / "rows.npz", "--field", "x=Deposited.amount_cent")

    assert done.exit_code == USAGE
    assert "nearest: amount_cents" in done.stderr
    assert not (tmp_path / "rows.npz").exists()


@pytest.mark.spec("DATA-11")
def test_a_file_that_is_there_stays_without_force(export: Run, tmp_path: Path) -> None:
    out = tmp_path / "rows.npz"
    out.write_text("mine")

    refused = export("--out", out)
    done = export("--out", out, "--force")

    assert refused.exit_code == USAGE
    assert done.exit_code == 0, done.output
    assert len(data.load(out)) == 3


def test_a_store_that_is_not_there_is_refused(run: Run, tmp_path: Path) -> None:
    done = run("export", "--data", tmp_path / "nowhere", "--out", tmp_path / "rows.npz")

    assert done.exit_code == USAGE
    assert "there is no store" in done.stderr


@pytest.mark.parametrize("field", ["x=Deposited.amount_cents:chips", "x=amount_cents:int"])
def test_a_kind_is_one_that_there_is_and_goes_with_a_type(
    run: Run, tmp_path: Path, field: str
) -> None:
    done = run("export", "--store", "memory://", "--out", tmp_path / "r.npz", "--field", field)

    assert done.exit_code == USAGE


def test_a_store_at_rest_is_read_by_its_url(run: Run, tmp_path: Path) -> None:
    done = run("export", "--store", "memory://", "--out", tmp_path / "rows.npz", "--json")

    assert json.loads(done.stdout)["rows"] == 0
