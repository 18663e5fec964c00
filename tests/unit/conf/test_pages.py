"""The pages point at what is there: at each other, at headings, at modules, at tests."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "bench/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
NOT_IN_AN_ANCHOR = re.compile(r"[^\w\- ]")


def by_path(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The headings of a page as its address has them, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {NOT_IN_AN_ANCHOR.sub("", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall(prose(PAGES[0]))}
    assert {by_path(page) for page in PAGES[1:]} <= linked


def test_every_module_that_the_layout_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    names = set(re.findall(r"[\w*./-]+\.(?:py|yaml)\b", text))
    outside = {"openapi.yaml", "bitrouter.yaml", "config/catalog/*.yaml"}
    assert len(names) > 40
    for name in names - outside:
        found = list((ROOT / "bitrouter").rglob(name)) or list(ROOT.glob(name))
        assert found, name


def test_every_module_of_the_server_stands_in_the_layout() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.partition("## The server's modules")[2].partition("\n## ")[0]
    modules = {file.name for file in (ROOT / "bitrouter" / "server").glob("[a-z]*.py")}
    assert set(re.findall(r"`(\w+\.py)`", section)) == modules
