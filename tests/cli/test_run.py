"""`angzarr run`: the embedded app without a port."""

from pathlib import Path

from tests.cli.conftest import BANK, Run

MAIN = """

async def main(app):
    await app.domain(Account).send("alice", Deposit(5))
    print((await app.domain(Account).state("alice")).balance_cents)
"""


def test_the_modules_main_is_called_with_the_running_app(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "with_main.py"
    path.write_text(BANK + MAIN)
    (tmp_path / "config.yaml").write_text("storage: {type: memory}")

    done = run("run", path)

    assert (done.exit_code, done.stdout) == (0, "5\n")


def test_a_main_that_is_refused_is_exit_code_3(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "refused.py"
    path.write_text(BANK + MAIN.replace("Deposit(5)", "Deposit(0)"))
    (tmp_path / "config.yaml").write_text("storage: {type: memory}")

    done = run("run", path)

    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        3,
        "angzarr: deposit a positive amount",
    )
