"""`.env` files and credentials, and `${VAR}` in string values."""

import os
import re
from collections.abc import Mapping
from pathlib import Path as File
from typing import Final, NamedTuple, cast

from bitrouter.config.document import Document, Path, Place
from bitrouter.errors import ConfigError, Problem

_REFERENCE: Final = re.compile(
    r"\$(?P<escaped>\$\{)"
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
    r"|(?P<broken>\$\{)"
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIAL_PREFIX: Final = "bitrouter_"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # how os.environ holds undecodable bytes
_ASSIGNMENT: Final = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*(.*)")
_SINGLE: Final = re.compile(r"'([^']*)'[ \t]*(?:#.*)?")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:#.*)?')
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}


class Expansion(NamedTuple):
    """What the document asked of the environment.

    `unset` are the paths that lack a variable without default, with its name; `key_variables`
    names the variable of each provider whose `api_key` comes from one.
    """

    unset: dict[Path, str]
    key_variables: dict[str, str]


def expand(document: Document, environ: Mapping[str, str], *, allow_unset: bool) -> Expansion:
    """Replace `${VAR}` and `${VAR:-default}` in the string values of `document`, in place.

    The default counts when the variable is unset or empty, as in a shell. `$${` is a literal
    `${`. A variable with neither value nor default is a problem, except at a provider's
    `api_key`, which becomes None, and with `allow_unset`, which leaves the text as it is.
    """
    expansion = Expansion({}, {})
    if not document.templates:
        return expansion
    paths = _paths(document.root)
    for container, key in document.templates:
        place = (id(container), key)
        document.environment.add(place)
        if place not in paths:  # under a key that was given twice, and is reported as that
            continue
        holder, path = cast("dict[str | int, object]", container), paths[place]
        template = cast("str", holder[key])
        text, missing = _expand_text(document, path, template, environ)
        is_key = _is_provider_key(path)
        if is_key and (reference := _REFERENCE.search(template)) and reference["name"]:
            expansion.key_variables[str(path[1])] = reference["name"]
        if missing is None:
            holder[key] = text
            continue
        expansion.unset[path] = missing
        if is_key:
            holder[key] = None
        elif not allow_unset:
            message = f"the environment variable {missing} is not set; set it, or give a default"
            document.report(path, f"{message}: ${{{missing}:-...}}")
    return expansion


def _is_provider_key(path: Path) -> bool:
    return len(path) == 3 and path[0] == "providers" and path[2] == "api_key"


def _paths(root: object) -> dict[Place, Path]:
    """The path of every place; of one that aliases share, the first."""
    paths: dict[Place, Path] = {}
    pending: list[tuple[object, Path]] = [(root, ())]
    seen: set[int] = set()
    while pending:
        container, path = pending.pop()
        if id(container) in seen:
            continue
        seen.add(id(container))
        if isinstance(container, dict):
            items = list(container.items())
        elif isinstance(container, list):
            items = list(enumerate(container))
        else:
            continue
        for key, value in items:
            paths[id(container), key] = (*path, key)
            pending.append((value, (*path, key)))
    return paths


def _expand_text(
    document: Document, path: Path, text: str, environ: Mapping[str, str]
) -> tuple[str, str | None]:
    """The text with its references replaced, and the first variable that has no value."""
    missing: str | None = None
    parts: list[str] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        if match["broken"]:
            document.report(path, "a `${` that is not ${NAME} or ${NAME:-default}; literal: $${")
        name = match["name"]
        value = environ.get(name) if name else match["escaped"]
        if value and _SURROGATE.search(value):
            document.report(path, f"the environment variable {name} is not UTF-8")
            value = _SURROGATE.sub("?", value)
        if not value and match["default"] is not None:
            value = match["default"]
        if name and value is None:
            missing = missing or name
        parts.append(value or "")
    parts.append(text[end:])
    return "".join(parts), missing


def read_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The files in $CREDENTIALS_DIRECTORY whose names could be those of variables, by name.

    A file `bitrouter_NAME` is NAME too: so systemd calls what LoadCredential= finds in a directory
    (systemd.exec(5)). One line end after the text is not part of it. Raises ConfigError when a
    file cannot be read.
    """
    if not (directory := environ.get("CREDENTIALS_DIRECTORY")):
        return {}
    found: dict[str, str] = {}
    try:
        for name in sorted(os.listdir(directory)):
            if _NAME.fullmatch(name):
                raw = File(directory, name).read_bytes()
                text = os.fsdecode(raw).removesuffix("\n").removesuffix("\r")
                found[name.removeprefix(_CREDENTIAL_PREFIX)] = text
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        where = str(error.filename or directory)
        raise ConfigError([Problem(where, 0, 0, "$CREDENTIALS_DIRECTORY", message)]) from error
    return found


def parse_dotenv(raw: bytes, file: str) -> dict[str, str]:
    """Read the lines `KEY=VALUE` of a `.env` file.

    `export ` before a key, `#` comments and blank lines are allowed. Single quotes keep a value
    as it is; double quotes know \\n, \\r, \\t, \\" and \\\\; a bare value ends before ` #`.
    Raises ConfigError with every line that is none of these; it never shows a line's text.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(file, line, 1, f"line {line}", "not UTF-8")]) from None
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for number, line_text in enumerate(text.split("\n"), start=1):
        line_text = line_text.strip()
        if not line_text or line_text.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(line_text)
        value = _dotenv_value(match[2]) if match else None
        if match is None or value is None:
            message = "not KEY=VALUE" if match is None else "a quote is not closed"
            problems.append(Problem(file, number, 1, f"line {number}", message))
        else:
            values[match[1]] = value
    if problems:
        raise ConfigError(problems)
    return values


def _dotenv_value(text: str) -> str | None:
    """The value right of the equals sign, None when its quotes do not match."""
    if text.startswith("'"):
        match = _SINGLE.fullmatch(text)
        return match[1] if match else None
    if text.startswith('"'):
        match = _DOUBLE.fullmatch(text)
        return _ESCAPE.sub(_unescape, match[1]) if match else None
    if text.startswith("#"):
        return ""
    return re.split(r"[ \t]#", text, maxsplit=1)[0].rstrip()


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[1] if match[1] in '"\\$' else match[0])
