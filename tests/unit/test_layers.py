"""The rules of how modules depend on each other, read from their source."""

import ast
import configparser
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitrouter.protocols import CODECS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bitrouter"

# A module may import its own package and lower layers. The longest name that fits counts.
LAYERS = {
    "bitrouter": 0,
    "bitrouter.errors": 0,
    "bitrouter.ir": 0,
    "bitrouter.envelope": 0,
    "bitrouter.sse": 0,
    "bitrouter.slices": 0,
    "bitrouter.outline": 0,
    "bitrouter.elements": 0,
    "bitrouter.jsonarray": 0,
    "bitrouter.redact": 0,
    "bitrouter.config": 1,
    "bitrouter.protocols": 2,
    "bitrouter.routing": 2,
    "bitrouter.access": 2,
    "bitrouter.metrics": 2,
    "bitrouter.state": 2,
    "bitrouter.log": 2,
    "bitrouter.systemd": 2,
    "bitrouter.exchange": 3,
    "bitrouter.upstream": 3,
    "bitrouter.local": 3,
    "bitrouter.payments": 3,
    "bitrouter.server": 4,
    "bitrouter.app": 5,
    "bitrouter.cli": 5,
    "bitrouter.__main__": 5,
}
# What the folders of protocols have in common; these may not import a folder.
SHARED = {
    *("base", "codec", "translator", "openai", "passthrough"),
    *("blocks", "continuity", "failure", "history", "media", "portable", "thinking"),
    *("readlarge", "writelarge"),
}
WITH_LOOP = (
    *("bitrouter.server", "bitrouter.upstream", "bitrouter.local"),
    *("bitrouter.app", "bitrouter.cli"),
    # Who talks or waits; the checks, the prices and the ledger do neither.
    *(
        f"bitrouter.payments.{name}"
        for name in (
            *(
                "facilitator",
                "supported",
                "journal",
                "settle",
                "rpc",
                "gate",
                "purchase",
                "repeats",
            ),
            *("transport", "credential", "cdp"),
        )
    ),
)
# They import what is slow to import when it is asked for, so that the start need not wait.
# A credential may need an extra.
LATE_IMPORTS = {
    *("bitrouter.cli.main", "bitrouter.server.observability", "bitrouter.payments.credential"),
    "bitrouter.server.selling",
}
# A library, and the only places that may import it.
RESERVED = {
    "asyncio": WITH_LOOP,
    "aiohttp": WITH_LOOP,
    "uvloop": WITH_LOOP,
    "yarl": WITH_LOOP,
    "multidict": WITH_LOOP,
    "prometheus_client": (),
    "prometheus_async": ("bitrouter.server.observability",),
    "coincurve": ("bitrouter.payments.curve",),
    "sha3": ("bitrouter.payments.eip712", "bitrouter.config.payments"),
    # For tests. To import them takes most of a second, and raises the limit of recursion for the
    # whole process, which a router counts on where it decodes JSON.
    "eth_account": (),
    "eth_utils": (),
    "json": (),
}
NAMES = {
    *(codec.name for codec in CODECS),
    *(codec.api_protocol for codec in CODECS),
    *(path.stem for path in (PACKAGE / "config" / "catalog").glob("*.yaml")),
}
NAMES_ALLOWED = ("bitrouter.config.catalog", "bitrouter.protocols")


def modules() -> list[str]:
    """Every module's dotted name."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
    )


each_module = pytest.mark.parametrize("module", modules())


def tree_of(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(source.read_text())


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imports_of(tree: ast.Module) -> Iterator[str]:
    """The modules that are imported, wherever the statement stands."""
    known = set(modules())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            assert node.module is not None
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in inner)


def package_of(module: str) -> str:
    """The entry of LAYERS under which a module falls."""
    known = [name for name in LAYERS if is_in(module, name) and name != "bitrouter"]
    if not known:
        assert module == "bitrouter", f"{module} belongs to no layer"
    return max(known, key=len, default="bitrouter")


def breach(module: str, imported: str) -> str | None:
    """Why `module` may not import `imported`, None if it may."""
    library = imported.partition(".")[0]
    if library in RESERVED:
        places = RESERVED[library]
        allowed = any(is_in(module, place) for place in places)
        return None if allowed else f"{library} is for {' and '.join(places) or 'nobody'}"
    if library != "bitrouter":
        return None
    own, other = package_of(module), package_of(imported)
    if own == other:
        return protocols_breach(module, imported) if own == "bitrouter.protocols" else None
    if other == "bitrouter.errors" or other == "bitrouter":
        return None
    if LAYERS[other] < LAYERS[own] or (LAYERS[own] == LAYERS[other] in (0, 5)):
        return None
    return f"{own} is in layer {LAYERS[own]}, {other} in layer {LAYERS[other]}"


def protocols_breach(module: str, imported: str) -> str | None:
    """A protocol knows nothing of another; what they share knows nothing of any."""
    if module == "bitrouter.protocols":
        return None
    own, other = module.split(".")[2], imported.split(".")[2:3]
    if other and (other[0] in SHARED or (other[0] == own and own not in SHARED)):
        return None
    return f"{module} may not know {imported}"


@each_module
def test_module_imports_only_what_its_layer_may(module: str) -> None:
    breaches = [
        f"{module} imports {imported}: {reason}"
        for imported in imports_of(tree_of(module))
        if (reason := breach(module, imported))
    ]

    assert breaches == []


def test_errors_are_below_everything() -> None:
    assert [one for one in imports_of(tree_of("bitrouter.errors")) if is_in(one, "bitrouter")] == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("bitrouter.errors", "bitrouter.config.schema"),
        ("bitrouter.sse", "bitrouter.log"),
        ("bitrouter.config.load", "bitrouter.protocols.base"),
        ("bitrouter.routing.table", "bitrouter.protocols.base"),
        ("bitrouter.exchange.plan", "bitrouter.upstream.session"),
        ("bitrouter.upstream.session", "bitrouter.server.relay"),
        ("bitrouter.server.relay", "bitrouter.app"),
        ("bitrouter.protocols.chat.codec", "bitrouter.protocols.responses.usage"),
        ("bitrouter.protocols.base", "bitrouter.protocols.chat.usage"),
        ("bitrouter.protocols.passthrough", "bitrouter.protocols"),
        ("bitrouter.protocols.chat.codec", "bitrouter.protocols"),
        ("bitrouter.routing.table", "asyncio"),
        ("bitrouter.exchange.plan", "aiohttp.web"),
        ("bitrouter.server.inference", "prometheus_client"),
        ("bitrouter.metrics.store", "prometheus_client"),
        ("bitrouter.cli.check", "json"),
    ],
)
def test_planted_breach_is_noticed(module: str, imported: str) -> None:
    assert breach(module, imported)


@pytest.mark.parametrize("module", sorted({*modules()} - LATE_IMPORTS))
def test_imports_stand_at_the_top(module: str) -> None:
    """Elsewhere they hide a cycle."""
    inner = [
        f"line {node.lineno}"
        for scope in ast.walk(tree_of(module))
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.walk(scope)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    assert inner == []


def names_compared(tree: ast.Module) -> list[str]:
    """Comparisons and match patterns in which the name of a provider or protocol stands."""
    asked = [node for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.MatchValue)]
    return [
        f"line {node.lineno}: {constant.value!r}"
        for node in asked
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and constant.value in NAMES
    ]


@pytest.mark.parametrize(
    "module", [one for one in modules() if not any(is_in(one, place) for place in NAMES_ALLOWED)]
)
def test_no_provider_or_protocol_is_compared_by_name(module: str) -> None:
    assert names_compared(tree_of(module)) == []


@pytest.mark.parametrize(
    "source",
    [
        "if codec.name == 'google': pass",
        "x = provider.name in ('openai', 'other')",
        "match name:\n    case 'anthropic': pass",
    ],
)
def test_planted_comparison_is_noticed(source: str) -> None:
    assert names_compared(ast.parse(source))


def public_definitions(body: list[ast.stmt], within: str) -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") and node.name != "__call__":
            continue
        yield f"{within}.{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node.body, f"{within}.{node.name}")


def is_documented(node: ast.AST) -> bool:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return bool(ast.get_docstring(node))


@each_module
def test_everything_public_is_documented(module: str) -> None:
    tree = tree_of(module)

    bare = [name for name, node in public_definitions(tree.body, module) if not is_documented(node)]

    assert ast.get_docstring(tree), f"{module} has no docstring"
    assert bare == []


def test_no_tool_is_configured_twice() -> None:
    """pytest and mypy would silently prefer pyproject.toml."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    sections = [name.removeprefix("tool:") for name in setup.sections()]
    in_setup = {re.split("[:-]", name)[0] for name in sections}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert in_setup == {"pytest", "mypy", "coverage"}
    assert set(project["tool"]) == {"setuptools", "ruff"}
    assert not {"metadata", "options"} & set(setup.sections())


def test_interpreter_is_one_that_the_project_supports() -> None:
    assert sys.version_info >= (3, 11)
