"""How the configuration says that the facilitator knows us."""

from collections.abc import Callable, Mapping
from typing import Final

from yarl import URL

from bitrouter.config.schema import Facilitator, Secret
from bitrouter.errors import ConfigError, Problem
from bitrouter.payments.transport import Credential, NoCredential

_TOKEN: Final = "payments.x402.facilitator.token"
_AUTH: Final = "payments.x402.facilitator.auth"


class Bearer:
    """A token that stays the same."""

    def __init__(self, token: Secret) -> None:
        self._headers = {"Authorization": f"Bearer {token.reveal()}"}

    def headers(self, method: str, url: URL) -> Mapping[str, str]:
        """`Authorization`, for any call."""
        return self._headers


def credential(settings: Facilitator, wall: Callable[[], float]) -> Credential:
    """What `auth` and `token` ask for. `wall` gives Unix seconds.

    Raises ConfigError when the token is missing or no key, or `cryptography` is not installed.
    """
    if settings.auth == "none":
        return NoCredential()
    if not settings.token:
        raise _unusable(_TOKEN, f"needed where `auth` is {settings.auth}")
    if settings.auth == "bearer":
        return Bearer(settings.token)
    return _cdp(settings.token, wall)


def _cdp(token: Secret, wall: Callable[[], float]) -> Credential:
    try:
        # Here, because it takes an extra that few need.
        from bitrouter.payments.cdp import CdpCredential
    except ImportError:
        message = (
            "cdp_jwt needs the package `cryptography`, which is not installed;"
            ' pip install "bitrouter[cdp]" brings it'
        )
        raise _unusable(_AUTH, message) from None
    try:
        return CdpCredential(token, wall)
    except ValueError as error:
        raise _unusable(_TOKEN, str(error)) from None


def _unusable(where: str, message: str) -> ConfigError:
    return ConfigError([Problem("(configuration)", 0, 0, where, message)])
