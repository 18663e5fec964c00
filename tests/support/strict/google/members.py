"""The names of members as the API has them: the protobuf mapping takes camelCase and snake_case
everywhere, and Google's own SDK mixes both in one request.

Source: protocols.md, 1.4 ("Casing").
"""

import re
from typing import Any, Final

_UNDERSCORE: Final = re.compile(r"_([a-z0-9])")
# What is in these is the user's own, whatever its names are.
_USERS: Final = frozenset(
    {
        "args",
        "response",
        "labels",
        "parametersJsonSchema",
        "responseJsonSchema",
        "default",
        "example",
        "enum",
        "required",
    }
)


def camel(name: str) -> str:
    """A member's name in camelCase."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)


def canonical(value: Any) -> Any:
    """The same with every known name in camelCase."""
    if isinstance(value, list):
        return [canonical(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, inner in value.items():
        plain = camel(name)
        if plain in _USERS:
            found[plain] = inner
        elif plain == "properties" and isinstance(inner, dict):
            found[plain] = {own: canonical(schema) for own, schema in inner.items()}
        else:
            found[plain] = canonical(inner)
    return found
