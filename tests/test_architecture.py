"""The architecture as a test: who may import whom, no circles, no hidden imports, files that fit in one's mind, words that hold.

docs/design.md tells the line of rooms; `MAY_IMPORT` is the same as data. The checks read source text only and import nothing.
"""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"graphc": "graphc", "passes": "graphc.passes", "codegen": "graphc.codegen", "runtime": "graphc.runtime"}
OPTIONAL_PACKAGES = {"jax", "matplotlib", "networkx", "onnx", "pycuda", "resvg_py", "torch"}
LONGEST_FILE, LONGEST_FUNCTION = 500, 80

# Which room a module belongs to: the longest prefix wins.
ROOMS = {
    "graphc": "face",
    "graphc.core": "core",
    "graphc.primitives": "primitives",
    "graphc.ops": "ops",
    "graphc.gradients": "declare",
    "graphc.registered_gradients": "declare",
    "graphc.explain_gradient": "declare",
    "graphc.jacobians": "declare",
    "graphc.variables": "declare",
    "graphc.variable_scope": "declare",
    "graphc.initializers": "declare",
    "graphc.layers": "declare",
    "graphc.train": "train",
    "graphc.metrics": "declare",
    "graphc.moving_averages": "declare",
    "graphc.global_step": "declare",
    "graphc.partitions": "declare",
    "graphc.regularizers": "declare",
    "graphc.contrib": "declare",
    "graphc.readiness": "declare",
    "graphc.template": "declare",
    "graphc.distributions": "declare",
    "graphc.api": "api",
    "graphc.inspection": "inspection",
    "graphc.exports": "exports",
    "graphc.limits": "machine",
    "graphc.timing": "machine",
    "graphc.passes": "passes",
    "graphc.codegen": "codegen",
    "graphc.runtime": "runtime",
    "graphc.runtime.cuda": "cuda",
    "graphc.digits": "tools",
    "graphc.models": "tools",
    "graphc.demo": "tools",
    "graphc.arguments": "tools",
    "graphc.scripts": "tools",
    "graphc.own_passes": "tools",
    "graphc.compiled": "tools",
    "graphc.gpu": "tools",
    "graphc.dump": "tools",
    "graphc.export": "tools",
    "graphc.dump_cuda": "tools",
    "graphc.__main__": "tools",
    "graphc.bench": "tools",
    "graphc.bisecting": "tools",
    "graphc.benchmark": "benchmark",
    "graphc.comparison": "benchmark",
    "graphc.agreement": "benchmark",
    "graphc.peers": "tools",
    "graphc.opt": "tools",
    "graphc.pictures": "drawing",
    "graphc.terminal": "drawing",
    "graphc.files": "drawing",
    "graphc.profile": "tools",
    "graphc.report": "tools",
    "graphc.cli": "tools",
}
_DECLARING = {"core", "primitives", "ops", "declare"}
MAY_IMPORT = {
    "core": {"core"},
    "primitives": {"core", "primitives"},
    "ops": {"core", "primitives", "ops"},
    "declare": _DECLARING,
    "exports": {"core", "drawing", "exports"},
    "train": _DECLARING | {"exports", "train"},
    "passes": {"core", "primitives", "passes"},
    "codegen": {"core", "primitives", "codegen"},
    "drawing": {"drawing"},
    "machine": {"core", "codegen", "machine"},  # what it can do at most, and how long things take
    "inspection": {"core", "primitives", "passes", "codegen", "runtime", "drawing", "machine", "inspection"},  # of the runtime the types
    "runtime": _DECLARING | {"runtime", "cuda", "exports", "inspection", "drawing", "machine"},
    "cuda": _DECLARING | {"runtime", "cuda", "codegen"},  # carries out what the CUDA code generator planned
    "api": _DECLARING | {"train", "exports", "api"},
    "benchmark": _DECLARING | {"passes", "runtime", "drawing", "machine", "benchmark"},
    "face": _DECLARING | {"train", "api", "exports", "passes", "runtime", "benchmark", "face"},
    "tools": _DECLARING | {"train", "runtime", "cuda", "face", "drawing", "exports", "inspection", "machine", "benchmark", "tools"},
}
# The doors between the runtime and the rooms that transform programs: the `compile` modules call them, others name their types, `graphc
# opt` applies passes one by one, and `graphc dump` writes the header that CUDA texts include.
DOORS = {"graphc.runtime.compile", "graphc.runtime.compile_cuda", "graphc.runtime.planned", "graphc.runtime.merging",
         "graphc.runtime.config", "graphc.runtime.executable", "graphc.runtime.targets_cuda", "graphc.runtime.cold",
         "graphc.runtime.check", "graphc.runtime.check_passes", "graphc.runtime.check_kernels", "graphc.runtime.check_cuda",
         "graphc.runtime.bisecting",
         "graphc.dump_cuda", "graphc.opt"}
DOORS_MAY_ALSO_IMPORT = {"passes", "codegen"}


@dataclass(frozen=True)
class Import:
    line: int
    candidates: tuple[str, ...]  # `from a import b` may name module a or a.b
    in_function: bool
    for_types_only: bool


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))


def room_of(name: str) -> str:
    while name not in ROOMS:
        name = name.rpartition(".")[0]
    return ROOMS[name]


def imports_of(tree: ast.Module) -> Iterator[Import]:
    """Every import statement of a module, also those inside functions and `if TYPE_CHECKING`. (Ruff forbids relative ones.)"""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, functions) for n in ast.walk(f)}
    typing = {id(n) for f in ast.walk(tree) if isinstance(f, ast.If) and "TYPE_CHECKING" in ast.unparse(f.test) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, (alias.name,), id(node) in inside, id(node) in typing)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(node.lineno, (f"{node.module}", f"{node.module}.{alias.name}"), id(node) in inside, id(node) in typing)


def _module(path: Path) -> Module:
    room, *rest = path.relative_to(ROOT).with_suffix("").parts
    parts = [PACKAGES.get(room, room), *rest]
    text = path.read_text()
    return Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path, text, ast.parse(text))


def _python_files(folder: str) -> list[Path]:
    files = (ROOT / folder).rglob("*.py")
    return sorted(p for p in files if not any(q.is_symlink() for q in p.parents if q != ROOT and ROOT in q.parents))


MODULES = {m.name: m for folder in PACKAGES for m in map(_module, _python_files(folder))}
EVERYTHING = [*MODULES.values(), *(_module(p) for folder in ("tests", "benchmarks", "examples", "docs") for p in _python_files(folder))]


def _target(candidates: tuple[str, ...], known: set[str]) -> str | None:
    """The module of this package that an import names, the most precise one."""
    return next((c for c in reversed(candidates) if c in known), None)


def wrong_directions(modules: dict[str, ast.Module], may_import: dict[str, set[str]] = MAY_IMPORT) -> list[str]:
    found = []
    for name, tree in modules.items():
        allowed = may_import[room_of(name)] | (DOORS_MAY_ALSO_IMPORT if name in DOORS else set())
        for imp in imports_of(tree):
            target = _target(imp.candidates, set(modules))
            if target and room_of(target) not in allowed:
                found.append(f"{name}:{imp.line} imports {target}")
    return found


def circles(modules: dict[str, ast.Module]) -> list[list[str]]:
    """Groups of modules that import each other, not counting imports for type checkers alone."""
    edges = nx.DiGraph()
    for name, tree in modules.items():
        for imp in imports_of(tree):
            target = _target(imp.candidates, set(modules))
            if target and target != name and not imp.for_types_only:
                edges.add_edge(name, target)
    return [sorted(group) for group in nx.strongly_connected_components(edges) if len(group) > 1]


def test_rooms_import_only_from_above() -> None:
    assert wrong_directions({m.name: m.tree for m in MODULES.values()}) == []


def test_no_import_circles() -> None:
    assert circles({m.name: m.tree for m in MODULES.values()}) == []


def test_imports_stand_at_the_top() -> None:
    hidden = [
        f"{m.where}:{imp.line} {imp.candidates[0]}"
        for m in MODULES.values()
        for imp in imports_of(m.tree)
        if imp.in_function and imp.candidates[0].split(".")[0] not in OPTIONAL_PACKAGES
    ]
    assert hidden == []


def test_files_and_functions_fit_in_mind() -> None:
    files = [f"{m.where} ({n} lines)" for m in EVERYTHING if (n := len(m.text.splitlines())) > LONGEST_FILE]
    functions = [
        f"{m.where}:{f.lineno} {f.name} ({(f.end_lineno or 0) - f.lineno} lines)"
        for m in MODULES.values()
        for f in ast.walk(m.tree)
        if isinstance(f, ast.FunctionDef) and (f.end_lineno or 0) - f.lineno > LONGEST_FUNCTION
    ]
    assert files + functions == []


def test_every_module_says_what_it_is_for() -> None:
    assert [m.where for m in EVERYTHING if len(ast.get_docstring(m.tree) or "") < 40] == []


def test_nothing_is_left_unfinished() -> None:
    marker = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError|except Exception\b(?!.*# the user's code)"
                        r"|#\s*type:\s*ignore(?!\[[\w-]+\]  #)")
    assert [f"{m.where}:{n}" for m in MODULES.values() for n, line in enumerate(m.text.splitlines(), 1) if marker.search(line)] == []


# Words that hold ------------------------------------------------------------------------------------------------------------------------

_MACHINE_FOLDER = re.compile(r"(?<![\w.~/-])/(?:home|root|work|workspace|mnt|srv|Users)/(?!me\b)\w")  # "/home/me" is nobody's
_PATH_IN_PROSE = re.compile(r"(?<![\w./~<*{$-])((?:[\w-]+/)+[\w-]+\.(?:py|md|toml|txt|svg|png))\b")


def _documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(p for p in ROOT.glob("graphc/**/*.md"))]


def _prose() -> Iterator[tuple[str, Path, str]]:
    """(where, folder, text) of every document and every module docstring."""
    for path in _documents():
        yield str(path.relative_to(ROOT)), path.parent, path.read_text()
    for m in EVERYTHING:
        yield m.where, m.path.parent, ast.get_docstring(m.tree) or ""


def test_no_file_names_a_folder_of_one_machine() -> None:
    texts = [*((m.where, m.text) for m in EVERYTHING), *((str(p.relative_to(ROOT)), p.read_text()) for p in _documents())]
    assert [f"{where}: {m.group()}" for where, text in texts for m in _MACHINE_FOLDER.finditer(text)] == []


def test_paths_named_in_prose_exist() -> None:
    def exists(path: str, folder: Path) -> bool:
        return any((base / path).exists() for base in (ROOT, folder, ROOT / "graphc"))

    assert [f"{where}: {p}" for where, folder, text in _prose() for p in _PATH_IN_PROSE.findall(text) if not exists(p, folder)] == []


# The checks themselves ------------------------------------------------------------------------------------------------------------------

def _trees(**sources: str) -> dict[str, ast.Module]:
    return {f"graphc.{name.replace('__', '.')}": ast.parse(text) for name, text in sources.items()}


@pytest.mark.parametrize(
    "sources",
    [
        {"core__graph": "from graphc.primitives import add", "primitives": ""},
        {"passes__fuse": "from graphc import codegen", "codegen": ""},
        {"codegen__lower": "import graphc.passes.fuse", "passes__fuse": ""},
        {"runtime__session": "from graphc.codegen.llvm import jit", "codegen__llvm__jit": ""},
        {"ops__math": "def f():\n    from graphc.runtime import session", "runtime__session": ""},
    ],
)
def test_a_wrong_direction_is_found(sources: dict[str, str]) -> None:
    assert len(wrong_directions(_trees(**sources))) == 1


def test_compile_is_the_door() -> None:
    rooms = {"passes__fuse": "", "codegen__ir": ""}
    both = "from graphc.passes import fuse\nfrom graphc.codegen import ir"
    assert wrong_directions(_trees(runtime__compile=both, **rooms)) == []
    assert len(wrong_directions(_trees(runtime__session=both, **rooms))) == 2


def test_a_circle_is_found() -> None:
    trees = _trees(core__a="from graphc.core.b import x", core__b="from graphc.core import c", core__c="import graphc.core.a")
    assert circles(trees) == [["graphc.core.a", "graphc.core.b", "graphc.core.c"]]


def test_a_machine_folder_is_found() -> None:
    assert _MACHINE_FOLDER.search("see " + "/".join(["", "home", "someone", "x"]))
    assert not _MACHINE_FOLDER.search("https://example.org/home/page and ./work/x")
