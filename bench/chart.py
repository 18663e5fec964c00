"""Charts as SVG, in a few lines of our own: bars with their spread, and lines."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

import msgspec

_WIDTH: Final = 860
_LABELS: Final = 260  # pixels for the names of bars
_ROW: Final = 30
_TOP: Final = 64
_COLOURS: Final = ("#2563eb", "#9ca3af", "#059669", "#d97706", "#7c3aed")
_HEAD: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
    'font-family="system-ui, sans-serif" font-size="12">'
    '<rect width="100%" height="100%" fill="white"/>'
)


class Bar(msgspec.Struct, frozen=True):
    """A bar as long as the median of `values`, with a line from the least to the most, and a mark
    at `limit`.
    """

    name: str
    values: Sequence[float]
    limit: float | None = None


class Line(msgspec.Struct, frozen=True):
    """A named line through points."""

    name: str
    points: Sequence[tuple[float, float]]


def bars(title: str, subtitle: str, shown: Sequence[Bar]) -> str:
    """A chart of bars from 0, whose mark is drawn as a line across."""
    most = max([*(max(bar.values) for bar in shown), *(bar.limit or 0 for bar in shown), 1.0])
    scale = (_WIDTH - _LABELS - 90) / most
    parts = [*_titles(title, subtitle, _TOP + _ROW * len(shown) + 16)]
    for row, bar in enumerate(shown):
        parts += _bar(bar, _TOP + row * _ROW, scale)
    return "\n".join([*parts, "</svg>\n"])


def _bar(bar: Bar, top: int, scale: float) -> Iterable[str]:
    median, middle = statistics.median(bar.values), top + 9
    least, most = (_LABELS + one(bar.values) * scale for one in (min, max))
    colour = _COLOURS[0] if bar.limit is None or median <= bar.limit else "#dc2626"
    yield _text(_LABELS - 8, middle + 4, bar.name, anchor="end")
    size = f'x="{_LABELS}" y="{top}" width="{median * scale:.1f}" height="18"'
    yield f'<rect {size} fill="{colour}"/>'
    yield (f'<line x1="{least:.1f}" x2="{most:.1f}" y1="{middle}" y2="{middle}" stroke="#111827"/>')
    if bar.limit is not None:
        at = _LABELS + bar.limit * scale
        yield (
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top - 4}" y2="{top + 22}"'
            ' stroke="#111827" stroke-width="2" stroke-dasharray="3 2"/>'
        )
    yield _text(_WIDTH - 80, middle + 4, f"{median:.2f}")


def lines(title: str, subtitle: str, axes: tuple[str, str], shown: Sequence[Line]) -> str:
    """A chart of lines; the horizontal axis is logarithmic, the vertical one begins at 0."""
    left, right, bottom, height = 80, _WIDTH - 160, 330, 250
    xs = [x for line in shown for x, _ in line.points]
    ys = [y for line in shown for _, y in line.points]
    low, span = math.log(min(xs)), (math.log(max(xs)) - math.log(min(xs))) or 1.0
    most = max(ys) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (math.log(x) - low) / span * (right - left)
        return across, bottom - y / most * height

    parts = [*_titles(title, subtitle, 380)]
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * height
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="#e5e7eb"/>')
        parts.append(_text(left - 8, y + 4, f"{most * share:,.0f}", anchor="end"))
    parts += [
        _text(place(x, 0)[0], bottom + 18, f"{x:,g}", anchor="middle") for x in sorted(set(xs))
    ]
    parts.append(_text((left + right) / 2, bottom + 38, axes[0], anchor="middle"))
    parts.append(_text(left - 60, 74, axes[1]))
    for number, line in enumerate(shown):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line.points)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        end = place(*line.points[-1])[1]
        parts.append(_text(right + 10, end + 4, line.name, colour=colour))
    return "\n".join([*parts, "</svg>\n"])


def _titles(title: str, subtitle: str, height: int) -> Iterable[str]:
    yield _HEAD.format(width=_WIDTH, height=height)
    yield _text(16, 26, title, size=16)
    yield _text(16, 46, subtitle, colour="#6b7280")


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#111827"
) -> str:
    given: Mapping[str, object] = {
        "x": f"{x:.1f}",
        "y": f"{y:.1f}",
        "text-anchor": anchor,
        "font-size": size,
        "fill": colour,
    }
    attributes = " ".join(f'{name}="{value}"' for name, value in given.items())
    return f"<text {attributes}>{escape(text)}</text>"
