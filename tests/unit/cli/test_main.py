"""The command line itself: what is no command is told in a line, with exit code 2."""

import pytest

from bitrouter import __version__
from bitrouter.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "VERB"),
        (["fly"], "fly"),
        (["serve", "--listen", "nonsense"], "must be host:port, [v6]:port or unix:/path"),
        (["serve", "--listen", "127.0.0.1:99999"], "'127.0.0.1:99999'"),
        (["keys"], "ACTION"),
        (["keys", "create"], "NAME"),
    ],
)
def test_what_is_no_command_ends_with_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"bitrouter {__version__}\n"


@pytest.mark.parametrize(
    "verb",
    [
        *("serve", "check", "keys", "keys create", "keys list", "keys revoke", "routes"),
        *("routes list", "routes add", "routes rm", "routes explain", "routes history"),
        *("routes rollback", "reload", "models", "status", "requests", "doctor", "schema"),
    ],
)
def test_the_help_of_each_verb_begins_with_what_it_does(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb.split(), "--help"])
    assert ended.value.code == 0
    usage, does, *_ = capsys.readouterr().out.split("\n\n")
    assert usage.startswith(f"usage: bitrouter {verb} ")
    assert does[0].isupper()
    assert does.endswith(".")
