"""The walls of the house (architecture.md, "Who may import whom"), read from the sources with ast."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("recsys", "feature_repo", "training", "serving")
MAX_ARGUMENTS = 5
CONTAINERS = (
    "BaseConfig",
    "BaseModel",
    "BaseSettings",
    "NamedTuple",
    "TypedDict",
    "Protocol",
    "Base",
    "DeclarativeBase",
)
BASE = frozenset({"schema", "errors", "config", "compiling"})
FOUNDATION = BASE | {"data", "encoders", "features", "privacy"}
MODELS = FOUNDATION | {"modeling"}
CHOOSING = MODELS | {"retrieval", "policy"}

# What each part of recsys may import of recsys, itself always included.
# schema, errors, config < data, encoders, features < modeling < retrieval, policy, ranking < decisions, campaigns <
# bundle.
# `features/spec.py` and the rest of the foundation may use each other; cycles between files are refused below.
ALLOWED: dict[str, frozenset[str]] = {
    "": frozenset(),  # recsys/__init__.py
    "schema": frozenset(),
    "errors": frozenset(),
    "config": frozenset({"errors"}),
    "compiling": frozenset(),
    "home": BASE,  # where the state lies
    "data": FOUNDATION,
    "encoders": FOUNDATION,
    "features": FOUNDATION,
    "privacy": FOUNDATION | {"home"},  # the suppression list is the home's
    "drawing": frozenset(),  # pictures from shapes: the simulator's and the campaigns'
    "simulator": FOUNDATION | {"drawing"},
    "modeling": FOUNDATION,
    "ranking": BASE | {"modeling"},  # the second stage: reads the first one's encodings and histories, nothing else
    "retrieval": MODELS,
    "policy": MODELS,
    "bundle": CHOOSING | {"ranking", "decisions", "campaigns"},
    "recommender": CHOOSING | {"ranking", "bundle", "metrics"},
    "live_item": frozenset(),
    "item_encoder": CHOOSING | {"ranking", "bundle", "live_item"},
    "extension": CHOOSING | {"ranking", "bundle", "recommender", "live_item", "item_encoder"},  # items that came later
    "decisions": CHOOSING | {"ranking", "bundle", "recommender"},
    "campaigns": CHOOSING | {"bundle", "recommender", "decisions", "metrics", "drawing"},
    "metrics": frozenset({"schema"}),
}
COMPOSITION_ROOT = "recsys/cli/"
"""The one place that may import every package, inside its commands."""
UNBOUND = ("testing",)
"""Contract tests and tiny data for all components."""

OUTSIDE = {
    "feast": ("feature_repo/", "training/dataset.py", "training/point_in_time.py", "serving/features.py"),
    # pyfunc_model.py is the code that MLflow stores beside the bundle: the other half of tracking.py
    "mlflow": ("training/tracking.py", "training/pyfunc_model.py", "serving/loading.py"),
    "fastapi": ("serving/",),
}
NEVER_IN_RECSYS = ("feast", "mlflow", "fastapi", "uvicorn", "requests", "httpx", "urllib.request", "socket")


class Source(NamedTuple):
    """One parsed file of the project."""

    name: str
    """Relative to the root."""
    module: str
    tree: ast.Module


class Import(NamedTuple):
    """One import of a file."""

    module: str
    line: int
    at_start: bool
    """Runs when the file is imported, not inside a function or under TYPE_CHECKING."""


def _read_sources() -> list[Source]:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return [_read_source(file) for file in files]


def _read_source(file: Path) -> Source:
    relative = file.relative_to(ROOT)
    parts = relative.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(str(relative), module, ast.parse(file.read_text(encoding="utf-8"), filename=str(relative)))


SOURCES = _read_sources()
MODULES = frozenset(source.module for source in SOURCES)


def imports_of(tree: ast.Module, module: str = "", is_package: bool = False) -> Iterator[Import]:
    """Every import of a file, with `from package import module` resolved to the module."""
    lazy = {id(node) for body in _lazy_bodies(tree) for node in ast.walk(body)}
    for node in ast.walk(tree):
        at_start = id(node) not in lazy
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, at_start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(inner if inner in MODULES else base, node.lineno, at_start)


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parents = parts[: len(parts) - node.level + is_package]
    return ".".join([*parents, node.module] if node.module else parents)


def _lazy_bodies(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        is_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_typing:
            yield node


def _imports(source: Source) -> Iterator[Import]:
    yield from imports_of(source.tree, source.module, source.name.endswith("__init__.py"))


def _is_root(source: Source) -> bool:
    return source.name.startswith(COMPOSITION_ROOT)


def _part(module: str) -> str:
    """`recsys.data.contract` is of the part `data`."""
    return module.split(".")[1] if "." in module else ""


def _is_under(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def test_layering_recsys_parts_import_only_what_lies_below() -> None:
    breaches = []
    for source in SOURCES:
        part = _part(source.module)
        if not _is_under(source.module, "recsys") or _is_root(source) or part in UNBOUND:
            continue
        assert part in ALLOWED, f"recsys/{part} is a new part: say in ALLOWED what it may import"
        for imported in _imports(source):
            target = _part(imported.module)
            inside = _is_under(imported.module, "recsys") and target not in (part, "")
            if inside and target not in ALLOWED[part]:
                breaches.append(f"{source.name}:{imported.line} imports {imported.module}")
    assert not breaches, "\n".join(breaches)


def test_layering_recsys_imports_no_package_above_it() -> None:
    breaches = [
        f"{source.name}:{imported.line} imports {imported.module}"
        for source in SOURCES
        if _is_under(source.module, "recsys") and not _is_root(source)
        for imported in _imports(source)
        if any(_is_under(imported.module, package) for package in ("feature_repo", "training", "serving"))
    ]
    assert not breaches, "\n".join(breaches)


def test_layering_nobody_imports_the_command_line() -> None:
    breaches = [
        f"{source.name}:{imported.line}"
        for source in SOURCES
        if not _is_root(source)
        for imported in _imports(source)
        if _is_under(imported.module, "recsys.cli")
    ]
    assert not breaches, breaches


def test_layering_command_line_imports_other_packages_only_when_a_command_runs() -> None:
    breaches = [
        f"{source.name}:{imported.line} imports {imported.module}"
        for source in SOURCES
        if _is_root(source)
        for imported in _imports(source)
        if imported.at_start and _is_any(imported.module, ("feature_repo", "training", "serving", *OUTSIDE, "torch"))
    ]
    assert not breaches, "\n".join(breaches)


def test_layering_serving_never_imports_training() -> None:
    breaches = [
        f"{source.name}:{imported.line}"
        for source in SOURCES
        if _is_under(source.module, "serving")
        for imported in _imports(source)
        if _is_under(imported.module, "training")
    ]
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize("package", OUTSIDE)
def test_layering_outside_package_is_imported_only_where_allowed(package: str) -> None:
    breaches = [
        f"{source.name}:{imported.line}"
        for source in SOURCES
        if not source.name.startswith(OUTSIDE[package])
        for imported in _imports(source)
        if _is_under(imported.module, package)
    ]
    assert not breaches, f"{package} is imported outside {OUTSIDE[package]}: {breaches}"


def test_layering_recsys_knows_no_server_network_or_environment() -> None:
    breaches = []
    for source in SOURCES:
        if not _is_under(source.module, "recsys") or _is_root(source):
            continue
        known = [imported for imported in _imports(source) if _is_any(imported.module, NEVER_IN_RECSYS)]
        breaches += [f"{source.name}:{imported.line} imports {imported.module}" for imported in known]
        breaches += [f"{source.name}:{line} reads the environment" for line in _environment_reads(source.tree)]
    assert not breaches, "\n".join(breaches)


def _is_any(module: str, packages: tuple[str, ...]) -> bool:
    return any(_is_under(module, package) for package in packages)


def _environment_reads(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        names = {"environ", "getenv", "putenv"}
        if isinstance(node, ast.Attribute) and node.attr in names:
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == "os" and names & {alias.name for alias in node.names}:
            yield node.lineno


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """The first cycle of a graph as a path that ends where it begins; empty where there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for following in sorted(graph.get(node, ())):
            if cycle := visit(following, [*path, node]):
                return cycle
        done.add(node)
        return []

    return next((cycle for node in sorted(graph) if (cycle := visit(node, []))), [])


def test_layering_modules_have_no_import_cycle() -> None:
    graph = {
        source.module: {
            imported.module
            for imported in _imports(source)
            if imported.module in MODULES and imported.module != source.module
        }
        for source in SOURCES
    }
    cycle = find_cycle(graph)
    assert not cycle, " -> ".join(cycle)


def long_constructors(tree: ast.Module) -> Iterator[str]:
    """Constructors of more than five arguments; dataclasses, configs and NamedTuples are lists of fields by nature."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or _is_container(node):
            continue
        for function in node.body:
            if isinstance(function, ast.FunctionDef) and function.name == "__init__":
                arguments = function.args
                count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs) - 1
                if count > MAX_ARGUMENTS:
                    yield f"{function.lineno}: {node.name} takes {count} arguments"


def _is_container(node: ast.ClassDef) -> bool:
    names = [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any(name in CONTAINERS for name in names) or any("dataclass" in decorator for decorator in decorators)


def test_style_constructors_take_at_most_five_arguments() -> None:
    breaches = [f"{source.name}:{breach}" for source in SOURCES for breach in long_constructors(source.tree)]
    assert not breaches, "more than five: take a config\n" + "\n".join(breaches)


def import_side_effects(tree: ast.Module) -> Iterator[int]:
    """Lines at module level that do something: bare calls, loops, context managers; assignments and tests are fine."""
    for node in tree.body:
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
        if is_call or isinstance(node, ast.For | ast.While | ast.With | ast.Delete | ast.Global):
            yield node.lineno


def test_style_nothing_happens_at_import() -> None:
    allowed = {
        "recsys/cli/app.py": ("app.add_typer(", "app.command("),  # how Typer learns its commands
        "serving/store/tables.py": ("Index(",),  # how SQLAlchemy adds an index to a declared table
        "serving/store/migrations/env.py": ("run()",),  # how Alembic runs what it finds there; nobody imports it
        "training/pyfunc_model.py": ("mlflow.models.set_model(",),  # how MLflow learns which object is the model
    }
    breaches = []
    for source in SOURCES:
        lines = (ROOT / source.name).read_text(encoding="utf-8").splitlines()
        for number in import_side_effects(source.tree):
            if not lines[number - 1].startswith(allowed.get(source.name, ())):
                breaches.append(f"{source.name}:{number}: {lines[number - 1].strip()}")
    assert not breaches, "\n".join(breaches)


def test_style_no_eval_pickle_star_import_or_global() -> None:
    breaches = []
    for source in SOURCES:
        for node in ast.walk(source.tree):
            star = isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec")
            if star or called or isinstance(node, ast.Global):
                breaches.append(f"{source.name}:{node.lineno}")
        breaches += [
            f"{source.name}:{imported.line} imports {imported.module}"
            for imported in _imports(source)
            if _is_any(imported.module, ("pickle", "dill", "cloudpickle", "joblib"))
        ]
    assert not breaches, "\n".join(breaches)


class TestTheCheckersThemselves:
    """A checker that finds nothing is worth nothing: each must find a planted breach."""

    def test_find_cycle_planted_cycle_is_found(self) -> None:
        assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
        assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []

    def test_imports_of_every_form_is_resolved(self) -> None:
        text = "import feast.x\nfrom recsys.data import contract\nfrom . import errors\ndef f():\n    import mlflow\n"
        found = list(imports_of(ast.parse(text), module="recsys.config"))
        assert [(item.module, item.at_start) for item in found] == [
            ("feast.x", True),
            ("recsys.data.contract", True),
            ("recsys.errors", True),
            ("mlflow", False),
        ]

    def test_long_constructors_planted_one_is_found(self) -> None:
        text = "class A:\n    def __init__(self, a, b, c, d, e, *, f): pass\nclass B(NamedTuple):\n    a: int\n"
        assert list(long_constructors(ast.parse(text))) == ["2: A takes 6 arguments"]

    def test_import_side_effects_planted_ones_are_found(self) -> None:
        text = '"""Doc."""\nx = make()\nprint(x)\nif TYPE_CHECKING:\n    pass\nfor i in x:\n    pass\n'
        assert list(import_side_effects(ast.parse(text))) == [3, 6]
