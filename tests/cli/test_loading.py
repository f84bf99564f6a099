"""Finding the app in a user's module."""

import sys
from pathlib import Path

import pytest
import typer
from tests.cli.conftest import BANK

from angzarr.cli.loading import load_app


def test_the_aggregates_of_a_module_are_an_app(bank: Path) -> None:
    app = load_app(str(bank))

    assert [d.__name__ for d in app.definitions] == ["Account"]


def test_an_app_in_a_module_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(BANK + "\nfrom angzarr import App\nmine = App(Account, select='aggregate:*')")

    app = load_app(str(path))

    assert app is sys.modules["one"].mine


def test_one_of_several_apps_is_named(tmp_path: Path) -> None:
    path = tmp_path / "two.py"
    path.write_text("from angzarr import App\na = App()\nb = App()")

    assert load_app(f"{path}:b") is sys.modules["two"].b


def test_a_module_in_a_package_may_use_relative_imports(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text(BANK)
    (package / "main.py").write_text("from .model import Account")

    assert len(load_app(str(package / "main.py")).definitions) == 1


def test_a_base_class_of_an_aggregate_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "derived.py"
    path.write_text(BANK + "\nclass Savings(Account, domain='savings'): ...")

    assert [d.__name__ for d in load_app(str(path)).definitions] == ["Savings"]


@pytest.mark.parametrize(
    ("text", "source", "said"),
    [
        ("gone.py", None, "there is no file gone.py"),
        ("gone.module", None, "there is no file or module gone.module"),
        ("empty.py", "", "empty.py has neither an App nor an aggregate"),
        ("a.py:b", "", "a.py has no b"),
        ("c.py:d", "d = 5", "c.py is no App: d"),
        ("e.py", "from angzarr import App\na, b = App(), App()", "several apps: name one"),
        ("f.py", "x = 1\ny = x / 0", "f.py:2: ZeroDivisionError: division by zero"),
        ("g.py", "def f(:", "g.py:1: SyntaxError: invalid syntax"),
        ("h.py", "import nonsense_of_mine", "No module named 'nonsense_of_mine'"),
    ],
)
def test_what_is_wrong_with_a_module_is_told_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    source: str | None,
    said: str,
) -> None:
    if source is not None:
        (tmp_path / text.partition(":")[0]).write_text(source)

    with pytest.raises(typer.Exit):
        load_app(text)

    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


def test_a_mistake_in_an_aggregate_points_at_the_users_own_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.py").write_text(BANK.replace("cmd: Deposit)", "cmd)"))

    with pytest.raises(typer.Exit):
        load_app("wrong.py")

    assert "wrong.py:17: TypeError: Account.deposit" in capsys.readouterr().err


def test_a_file_may_have_the_name_of_a_loaded_module(tmp_path: Path) -> None:
    (tmp_path / "platform.py").write_text(BANK)

    assert [d.__name__ for d in load_app("platform.py").definitions] == ["Account"]
