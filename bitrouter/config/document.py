"""YAML text to plain values that remember their places.

The text is read as a stream of events, never as objects: there is no tag that constructs one, and
depth, size and aliases are bounded while reading. Keys are always text, as written. Dates stay
text.
"""

import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NoReturn, Protocol, cast

import yaml
from yaml.reader import Reader

from bitrouter.errors import ConfigError, Problem

Path = tuple[str | int, ...]
Mapping = dict[str, object]
Container = Mapping | list[object]
Place = tuple[int, str | int]  # the identity of a container, and a key or index in it


class Mark(Protocol):
    """A place in the text, counted from 0. PyYAML has two classes of it."""

    line: int
    column: int


MAX_BYTES: Final = 16 << 20
MAX_DEPTH: Final = 64
MAX_ALIASED_VALUES: Final = 100_000

SECRET_KEYS: Final = frozenset({"api_key", "admin_token", "token"})

_STR_TAGS: Final = (None, "!", "tag:yaml.org,2002:str")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {
    spelling: value
    for value, words in ((True, ("true", "yes", "on")), (False, ("false", "no", "off")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9_]{0,300})")
_FLOAT: Final = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_PLAIN_KEY: Final = re.compile(r"[\w/*:@+-]+", re.ASCII)


class Document:
    """One file's plain values, with the places they came from.

    `root` is made of dict, list, str, int, float, bool and None. `environment` holds the places
    whose text came from `${VAR}`: such a value is never shown. `problems` collects what is wrong.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Mapping = {}
        self.problems: list[Problem] = []
        self.marks: dict[Place, tuple[Mark, Mark]] = {}
        self.templates: list[tuple[Container, str | int]] = []
        self.environment: set[Place] = set()
        self.containers: list[Container] = []  # all of them, so that an identity stays one's own

    def report(self, path: Path, message: str) -> None:
        """Add a problem with the value at `path`."""
        self._add(path, message, self.position(path))

    def report_key(self, path: Path, message: str) -> None:
        """Add a problem with the key that `path` ends in."""
        self._add(path, message, self.position(path, of_key=True))

    def report_value(self, path: Path, message: str, value: object) -> None:
        """Add a problem with the value at `path`, and show it unless it may be secret."""
        shown = self.shown(path, value)
        self.report(path, f"{shown}: {message}" if shown else message)

    def report_unknown(self, path: Path, message: str) -> None:
        """Add a problem with the mapping that has the key `path` ends in, and should not."""
        self._add(path[:-1], message, self.position(path, of_key=True))

    def _add(self, path: Path, message: str, position: tuple[int, int]) -> None:
        self.problems.append(Problem(self.file, *position, render_path(path), message))

    def mapping(self, path: Path) -> Mapping:
        """The mapping at a path of keys; an empty one when something else is there, or nothing."""
        found: object = self.root
        for key in path:
            found = found.get(str(key)) if isinstance(found, dict) else None
        return cast("Mapping", found) if isinstance(found, dict) else {}

    def position(self, path: Path, *, of_key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of the value at `path`, or of the nearest that contains it."""
        found = (1, 1)
        for depth, place in enumerate(self._places(path), start=1):
            marks = self.marks[place]
            mark = marks[0] if of_key and depth == len(path) else marks[1]
            found = (mark.line + 1, mark.column + 1)
        return found

    def from_environment(self, path: Path) -> bool:
        """Whether the text at `path` has a `${VAR}` in it."""
        places = list(self._places(path))
        return len(places) == len(path) > 0 and places[-1] in self.environment

    def _places(self, path: Path) -> Iterator[Place]:
        """The places along `path`, as far as it goes."""
        container: object = self.root
        for step in path:
            place = (id(container), step)
            if place not in self.marks:
                return
            yield place
            if isinstance(container, dict):
                container = container.get(step)
            elif isinstance(container, list):
                container = container[cast("int", step)]

    def shown(self, path: Path, value: object) -> str | None:
        """`value` for a message; None where it may be secret."""
        if not SECRET_KEYS.isdisjoint(path) or "default_headers" in path:
            return None
        if self.from_environment(path):
            return None
        text = repr(value)
        return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"


def render_path(path: Path) -> str:
    """A path as `models.fast.endpoints[0]`; a key that would be misread is quoted."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.fullmatch(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{step[:80]!r}]")
    return "".join(parts) or "(whole file)"


def quote_key(key: str) -> str:
    """A key for a message, without what would disturb a terminal."""
    return f"`{key[:80]}`" if key.isprintable() else repr(key[:80])


def read_document(raw: bytes, file: str) -> Document:
    """Read one YAML document; an empty one is an empty mapping.

    Raises ConfigError, with every problem found so far, when the text cannot be read to its end.
    """
    text = _decode(raw, file)
    builder = _Builder(file)
    try:
        builder.read(text)
    except yaml.MarkedYAMLError as error:
        builder.stop(
            cast("Mark | None", error.problem_mark or error.context_mark),
            _syntax_message(error, text),
        )
    except yaml.YAMLError:  # pragma: no cover - what libyaml's reader refuses, `_decode` did
        builder.stop(None, "this is not YAML")
    return builder.document


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES >> 20} MiB"
        raise ConfigError([Problem(file, 1, 1, render_path(()), message)])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        raise _text_problem(file, before, "not UTF-8; save the file as UTF-8") from None
    if match := Reader.NON_PRINTABLE.search(text):
        message = f"control character U+{ord(match[0]):04X} is not allowed"
        raise _text_problem(file, text[: match.start()], message)
    return text


def _text_problem(file: str, before: str, message: str) -> ConfigError:
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return ConfigError([Problem(file, line, column, render_path(()), message)])


def _syntax_message(error: yaml.MarkedYAMLError, text: str) -> str:
    """What libyaml says: constant texts, which never quote the file."""
    mark = error.problem_mark
    if mark is not None:
        line = text.splitlines()[mark.line : mark.line + 1]
        if line and line[0][mark.column : mark.column + 1] == "\t":
            return "YAML syntax: a tab; indent with spaces"
    return "YAML syntax: " + ", ".join(part for part in (error.context, error.problem) if part)


class _Frame:
    """A container that is being filled."""

    __slots__ = ("anchor", "container", "key", "key_mark", "start")

    def __init__(self, container: Container, anchor: str | None, start: int) -> None:
        self.container = container
        self.anchor = anchor
        self.start = start  # how many values there were before it
        self.key: str | None = None
        self.key_mark: Mark | None = None


class _Builder:
    """Folds parser events into a Document."""

    def __init__(self, file: str) -> None:
        self.document = Document(file)
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[object, int]] = {}  # a finished value, how many values
        self._values = 0
        self._aliased = 0
        self._documents = 0

    def read(self, text: str) -> None:
        # The loader is used as a parser only; its constructors are never called.
        loader = yaml.CSafeLoader(text)
        try:
            self._fold(loader)
        finally:
            loader.dispose()

    def _fold(self, loader: yaml.CSafeLoader) -> None:
        # The stubs make every mark optional, which those of a parser are not.
        next_event: Callable[[], Any] = loader.get_event
        while True:
            event = next_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent:
                self._open({}, event)
            elif kind is yaml.SequenceStartEvent:
                self._open([], event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                self._documents += 1
                if self._documents > 1:
                    self.stop(event.start_mark, "a second YAML document; one is allowed")
            elif kind is yaml.StreamEndEvent:
                return

    def stop(self, mark: Mark | None, message: str) -> NoReturn:
        """End the reading with a problem at `mark`."""
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        where = render_path(self._path())
        problem = Problem(self.document.file, line, column, where, message)
        raise ConfigError([*self.document.problems, problem])

    def _path(self) -> Path:
        """Where the next value goes; shorter by one while a mapping waits for its next key."""
        path: list[str | int] = []
        for depth, frame in enumerate(self._frames, start=1):
            if isinstance(frame.container, list):
                innermost = depth == len(self._frames)
                path.append(len(frame.container) - (0 if innermost else 1))
            elif frame.key is not None:
                path.append(frame.key)
        return tuple(path)

    def _scalar(self, event: Any) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame and frame.key is None and type(frame.container) is dict:
            frame.key = event.value
            frame.key_mark = event.start_mark
            return
        self._values += 1
        if event.tag not in _STR_TAGS:
            self.stop(event.start_mark, "this YAML tag is not allowed; write plain values")
        value = plain_value(event.value) if event.implicit[0] else event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._store(value, event.start_mark)
        if frame:
            frame.key = None

    def _open(self, container: Container, event: Any) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame and frame.key is None and type(frame.container) is dict:
            self.stop(event.start_mark, "a key must be text")
        if event.tag not in (None, "!"):
            self.stop(event.start_mark, "this YAML tag is not allowed; write plain values")
        if len(self._frames) == MAX_DEPTH:
            self.stop(event.start_mark, f"nested deeper than {MAX_DEPTH} levels")
        self._values += 1
        self.document.containers.append(container)
        self._store(container, event.start_mark)
        self._frames.append(_Frame(container, event.anchor, self._values))

    def _close(self) -> None:
        frame = self._frames.pop()
        if type(frame.container) is dict and "<<" in frame.container:
            self._merge(frame.container)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.container, self._values - frame.start + 1)
        if self._frames:
            self._frames[-1].key = None

    def _alias(self, event: Any) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame and frame.key is None and type(frame.container) is dict:
            self.stop(event.start_mark, "a key must be text, not an alias")
        if event.anchor not in self._anchors:
            self.stop(event.start_mark, "an alias without an anchor before it, or inside its own")
        value, size = self._anchors[event.anchor]
        self._values += size
        self._aliased += size
        if self._aliased > MAX_ALIASED_VALUES:
            self.stop(
                event.start_mark, f"aliases expand to more than {MAX_ALIASED_VALUES:,} values"
            )
        self._store(value, event.start_mark)
        if frame:
            frame.key = None

    def _store(self, value: object, mark: Mark) -> None:
        """Put a value into the innermost open container, under the key that waits there."""
        document = self.document
        if not self._frames:
            if isinstance(value, dict):
                document.root = value
            elif value is not None:
                self.stop(mark, "the file must be a mapping of sections, such as `providers:`")
            return
        frame = self._frames[-1]
        container = frame.container
        key: str | int
        if isinstance(container, list):
            key, key_mark = len(container), mark
            container.append(value)
        else:
            key, key_mark = cast("str", frame.key), cast("Mark", frame.key_mark)
            if key in container:
                self._duplicate(container, key, key_mark)
                return
            container[key] = value
        document.marks[id(container), key] = (key_mark, mark)
        if type(value) is str and "${" in value:
            document.templates.append((container, key))

    def _duplicate(self, container: Mapping, key: str, mark: Mark) -> None:
        first = self.document.marks[id(container), key][0].line + 1
        self.document.problems.append(
            Problem(
                self.document.file,
                mark.line + 1,
                mark.column + 1,
                render_path(self._path()),
                f"given twice; the first is in line {first}",
            )
        )

    def _merge(self, container: Mapping) -> None:
        """Fill in what `<<: *anchor` brings, behind the mapping's own keys (YAML 1.1, merge)."""
        mark = self.document.marks[id(container), "<<"][1]
        merged = container.pop("<<")
        sources = merged if isinstance(merged, list) else [merged]
        for source in sources:
            if not isinstance(source, dict):
                self.stop(mark, "`<<` takes an alias of a mapping, or a list of them")
            for key, value in source.items():
                if key not in container:
                    container[key] = value
                    marks = self.document.marks[id(source), key]
                    self.document.marks[id(container), key] = marks
                    if type(value) is str and "${" in value:
                        self.document.templates.append((container, key))


@lru_cache(maxsize=4096)
def plain_value(text: str) -> bool | int | float | str | None:
    """What an unquoted YAML scalar means. Octal, sexagesimal and dates are text."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text) and not _leading_zero(text):
        number = float(text.replace("_", ""))
        return number if math.isfinite(number) else text
    return text


def _leading_zero(text: str) -> bool:
    digits = text.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
