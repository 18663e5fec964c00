"""Charts are well-formed, and say what they were given."""

from xml.etree import ElementTree

from bench.chart import Bar, Line, bars, lines

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_bars_are_as_long_as_their_medians_and_their_limits_are_marked() -> None:
    svg = bars("Cost & more", "here", [Bar("a<b", [1.0, 2.0, 9.0], limit=4.0), Bar("c", [4.0])])

    root = ElementTree.fromstring(svg)
    _, first, second = (float(one.get("width", "").rstrip("%")) for one in root.iter(f"{SVG}rect"))
    assert abs(second - 2 * first) < 0.2
    assert texts(svg) == ["Cost & more", "here", "a<b", "2.00", "c", "4.00"]
    assert len([*root.iter(f"{SVG}line")]) == 3


def test_lines_go_through_their_points_from_left_to_right() -> None:
    svg = lines("Growth", "here", ("size", "us"), [Line("router", [(1, 5), (10, 6), (100, 0)])])

    (line,) = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    points = [tuple(map(float, one.split(","))) for one in line.get("points", "").split()]
    assert points == sorted(points)
    assert points[1][0] - points[0][0] == points[2][0] - points[1][0]  # a logarithmic axis
    assert points[2][1] > points[0][1] > points[1][1]  # down is more
    assert {"router", "size", "us", "100"} <= set(texts(svg))
