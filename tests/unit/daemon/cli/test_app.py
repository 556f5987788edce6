from importlib.metadata import version

from typer.testing import CliRunner

from daemon.cli.app import app


def test_the_version_is_told_without_a_command() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"lamelle {version('lamelle')}\n")
