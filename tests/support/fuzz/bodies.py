"""Bodies: JSON with one thing wrong, and bytes that were JSON once."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, Final

from tests.support.fuzz.rich import RICH

Path = tuple[str | int, ...]

# Stands for a value in JSON text, until it is replaced by bytes that may be no JSON at all.
_HOLE: Final = "\U0001f573"
_HOLE_TEXT: Final = json.dumps(_HOLE).encode()

VALUES: Final = (
    *(b"null", b"true", b"false", b"0", b"1", b"-1", b"1.5", b'""', b'"x"', b"[]", b"{}"),
    *(b"[[]]", b"[null]", b"[{}]", b"[1]", b'{"":""}', b'{"type":"text"}', b'{"type":[]}'),
    # numbers
    *(b"-0", b"-0.0", b"1e5", b"1E+2", b"1e400", b"-1e400", b"1e-400", b"0.1e99999", b"1e308"),
    *(b"9" * 5000, b"-" + b"9" * 5000, b"1." + b"1" * 5000, b"1" + b"0" * 400, b"1e" + b"9" * 500),
    *(
        b"9223372036854775807",
        b"9223372036854775808",
        b"18446744073709551616",
        b"-9223372036854775809",
    ),
    *(b"00", b"01", b"1.", b".5", b"+1", b"0x1", b"1_0", b"NaN", b"Infinity", b"-Infinity"),
    # text
    *(rb'"\ud800"', rb'"\udc00\ud800"', rb'"\u0000"', b'"\x00"', b'"\xff"', b'"\xed\xa0\x80"'),
    *(rb'"\x"', rb'"\u12"', b'"\n"', b'"\x7f"', '"\u2028\u202e\ufeff"'.encode(), b"'x'"),
    *(b'"' + b"a" * 20_000 + b'"', b'"' + rb"\u00e4" * 2000 + b'"', '"\U0001f600"'.encode()),
    *(b'"[DONE]"', b'"data: x\\n\\n"', b'"</script>"', b'"{\\"a\\":"', b'"../../etc/passwd"'),
    *(b'"data:,"', b'"data:image/png;base64,%%%"', b'"http://169.254.169.254/"', b'"file:///x"'),
    *(b'"assistant"', b'"system"', b'"developer"', b'"tool"', b'"image"', b'"function"', b'"auto"'),
    # objects and arrays
    *(b'{"a":1,"a":2}', b'{"type":"text","type":"x","text":"y"}', rb'{"\ud800":1}'),
    *(b"[" * 100 + b"]" * 100, b"[" * 300 + b"]" * 300, b"[" * 9000 + b"]" * 9000),
    *(b'{"a":' * 300 + b"0" + b"}" * 300, b"[" * 9000, b'{"a":' * 9000),
    *(b"[" + b"0," * 5000 + b"0]", b"{" + b",".join(b'"%d":0' % i for i in range(2000)) + b"}"),
    # what is no value
    *(b"", b" ", b",", b":", b"{", b"}", b"]", b'"', b"\\", b"//", b"/**/null", b"\x00", b"\xff"),
    *(b"null,null", b'null,"model":"m-chat"', b'null,"stream":true', b"undefined", b"None"),
)
_KEYS: Final = (
    *("", "model", "stream", "messages", "type", "content", "a" * 5000, "\u0000", "\u202e", "é"),
    *("__proto__", "$ref", "role", "a.b", "a[0]", "0", "contents", "input", "max_tokens", "n"),
)


def body(chance: random.Random, protocol: str, model: str) -> bytes:
    """A body for a request of `protocol`, mostly with something wrong in it."""
    request = copy.deepcopy(RICH[protocol])
    if "model" in request:
        request["model"] = model
    for _ in range(chance.choice((0, 0, 0, 1, 1, 4))):
        _leave_out(chance, request)
    text = chance.choice((_value, _value, _key, _twice, _swapped, _as_it_is))(chance, request)
    return _bytes(chance, text) if chance.random() < 0.15 else text


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """The places of all values within `value`, its own apart."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


def with_value(request: Any, path: Path, raw: bytes) -> bytes:
    """The request as JSON with `raw` at a place, whatever it is."""
    changed = copy.deepcopy(request)
    holder = _at(changed, path[:-1])
    holder[path[-1]] = _HOLE
    return json.dumps(changed).encode().replace(_HOLE_TEXT, raw)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _any_path(chance: random.Random, request: Any) -> Path:
    """A place, the top of the request as likely as what lies deep."""
    found = [*paths(request)]
    if chance.random() < 0.3:
        found = [path for path in found if len(path) == 1]
    return chance.choice(found)


def _leave_out(chance: random.Random, request: Any) -> None:
    """Without a member the rest is read further, or is refused elsewhere."""
    path = _any_path(chance, request)
    if path != ("model",):
        del _at(request, path[:-1])[path[-1]]


def _as_it_is(chance: random.Random, request: Any) -> bytes:
    return json.dumps(request, ensure_ascii=chance.random() < 0.5).encode()


def _value(chance: random.Random, request: Any) -> bytes:
    return with_value(request, _any_path(chance, request), chance.choice(VALUES))


def _key(chance: random.Random, request: Any) -> bytes:
    path = _any_path(chance, request)
    holder = _at(request, path[:-1])
    if isinstance(holder, dict):
        holder[chance.choice(_KEYS)] = holder.pop(path[-1])
    return json.dumps(request, ensure_ascii=chance.random() < 0.5).encode()


def _twice(chance: random.Random, request: Any) -> bytes:
    """The same member two times, at the top or below."""
    path = _any_path(chance, request)
    again = b"%b,%b:%b" % (
        json.dumps(_at(request, path)).encode(),
        json.dumps(str(path[-1])).encode(),
        chance.choice(VALUES[:20]),
    )
    return with_value(request, path, again)


def _swapped(chance: random.Random, request: Any) -> bytes:
    """A value of the request in the place of another."""
    value = json.dumps(_at(request, _any_path(chance, request))).encode()
    return with_value(request, _any_path(chance, request), value)


def _bytes(chance: random.Random, text: bytes) -> bytes:
    """Text with some bytes gone, new, or others."""
    changed = bytearray(text)
    for _ in range(chance.choice((1, 1, 3, 10))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                del changed[at : at + chance.choice((1, 2, 20, 1000))]
            case 1:
                changed[at:at] = chance.randbytes(chance.choice((1, 2, 20)))
            case 2:
                changed[at:at] = changed[at : at + 50] * chance.choice((1, 5))
            case _:
                del changed[at:]
    return bytes(changed)
