"""$CREDENTIALS_DIRECTORY: files that are variables."""

from pathlib import Path

import pytest

from bitrouter.config.environment import read_credentials
from bitrouter.config.load import load_config
from bitrouter.config.schema import Secret
from bitrouter.errors import ConfigError
from bitrouter.protocols import BY_API_PROTOCOL


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the service manager puts the credentials."""
    made = tmp_path / "credentials"
    made.mkdir()
    return made


def environ(directory: Path, **more: str) -> dict[str, str]:
    return {"CREDENTIALS_DIRECTORY": str(directory), "HOME": str(directory.parent), **more}


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("ACME_KEY", b"k", {"ACME_KEY": "k"}),
        ("ACME_KEY", b"k\n", {"ACME_KEY": "k"}),
        ("ACME_KEY", b"k\r\n", {"ACME_KEY": "k"}),
        ("ACME_KEY", b"k\n\n", {"ACME_KEY": "k\n"}),
        ("ACME_KEY", b"", {"ACME_KEY": ""}),
        ("bitrouter_ACME_KEY", b"k", {"ACME_KEY": "k"}),
        ("tls.key", b"\x00\xff", {}),
    ],
)
def test_a_file_is_the_variable_of_its_name(
    directory: Path, name: str, content: bytes, found: dict[str, str]
) -> None:
    (directory / name).write_bytes(content)
    assert read_credentials(environ(directory)) == found


def test_without_the_directory_there_are_none() -> None:
    assert read_credentials({}) == {}


def test_a_directory_that_is_gone_is_an_error_that_names_it(directory: Path) -> None:
    missing = directory / "missing"
    with pytest.raises(ConfigError, match=rf"{missing}.*cannot be read: No such file"):
        read_credentials(environ(missing))


def test_without_a_file_the_keys_of_providers_are_found(directory: Path) -> None:
    (directory / "bitrouter_OPENAI_API_KEY").write_text("from-credential\n")
    config = load_config(None, environ(directory), BY_API_PROTOCOL)
    assert config.providers["openai"].api_key == Secret("from-credential")
    assert config.providers["anthropic"].unusable is not None


def test_the_environment_wins_over_a_credential_and_that_over_dotenv(directory: Path) -> None:
    file = directory.parent / "bitrouter.yaml"
    file.write_text(
        "server: {admin_token: '${A}', state_dir: '${B}'}\nproviders: {openai: {api_key: '${C}'}}\n"
    )
    (directory.parent / ".env").write_text("A=dotenv\nB=/dotenv\nC=dotenv\n")
    (directory / "A").write_text("credential")
    (directory / "C").write_text("credential")
    config = load_config(file, environ(directory, A="environment"), BY_API_PROTOCOL)
    assert config.server.admin_token == Secret("environment")
    assert config.server.state_dir == "/dotenv"
    assert config.providers["openai"].api_key == Secret("credential")


def test_a_path_in_the_directory_can_be_written(directory: Path) -> None:
    file = directory.parent / "bitrouter.yaml"
    file.write_text(
        "server: {tls: {cert: '${CREDENTIALS_DIRECTORY}/c', key: '${CREDENTIALS_DIRECTORY}/k'}}\n"
    )
    tls = load_config(file, environ(directory), BY_API_PROTOCOL).server.tls
    assert tls is not None
    assert (tls.cert, tls.key) == (f"{directory}/c", f"{directory}/k")


def test_what_is_no_text_is_named_and_not_shown(directory: Path) -> None:
    file = directory.parent / "bitrouter.yaml"
    file.write_text("server: {admin_token: '${TOKEN}'}\n")
    (directory / "TOKEN").write_bytes(b"sec\xffret")
    with pytest.raises(ConfigError, match="TOKEN is not UTF-8") as error:
        load_config(file, environ(directory), BY_API_PROTOCOL)
    assert "sec" not in str(error.value).replace("secret", "")
