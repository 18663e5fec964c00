"""What the verbs print: columns for people, in colour where that is welcome."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple, TextIO

Style = Literal["plain", "soft", "good", "warn", "bad"]

# SGR parameters, ECMA-48: every terminal has these, whatever its colours are.
_CODES: Final[dict[Style, str]] = {
    "soft": "2",
    "good": "32",
    "warn": "33",
    "bad": "31",
}


class Cell(NamedTuple):
    """A piece of text, and how it looks."""

    text: str
    style: Style = "plain"


def is_coloured(stream: TextIO | None = None) -> bool:
    """Whether to write colours: to a terminal that knows them, unless $NO_COLOR is set and not
    empty. Source: no-color.org.
    """
    stream = stream or sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: Style, *, colour: bool) -> str:
    """The text in its colour, if there are any."""
    code = _CODES.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code and text else text


def columns(rows: Sequence[Sequence[str | Cell]], *, colour: bool = False) -> Iterator[str]:
    """The rows with their cells below one another; the last column is as long as it is."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    widths = [max(len(cell.text) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        shown = [
            paint(cell.text, cell.style, colour=colour) + " " * (width - len(cell.text))
            for cell, width in zip(row, widths, strict=True)
        ]
        yield "  ".join(shown).rstrip()


def heading(*words: str) -> list[Cell]:
    """The first row of a table."""
    return [Cell(word, "soft") for word in words]


def span(seconds: float) -> str:
    """A length of time in its two largest units: `3 h 2 min`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
