"""docs/operations.md is made from the public functions and the tables of samples. `pytest --update-golden` writes it anew.

What the page says of a function is what its samples show: the operations that it declares, the element types that it takes, the shapes, the
gradient, the kernels that the default pipeline makes of it.
"""
from __future__ import annotations

import inspect
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import graphc as gc
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import OpError
from graphc.core.program import Node, Program
from graphc.core.specialise import specialise
from graphc.core.types import TensorType
from graphc.ops.aliases import __all__ as OLD_NAMES
from graphc.passes.pipelines import DEFAULT, run_pipeline
from tests.composite_cases import Case
from tests.composite_table import FAMILIES
from tests.public_functions import declare, operations_behind, public_functions
from tests.test_composites import ELSEWHERE_FUNCTIONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
DIFFERENCES = Path(__file__).parent / "judge" / "differences.txt"
SOURCES = ("Const", "Placeholder", "Identity")
HEAD = """# The operations

Every public function that declares operations, one line each, made from the code and from the samples that the tests run
(`tests/test_operations_page.py`). `gc` is `import graphc as gc`; names, arguments and results are TensorFlow 1.15's.

- *declares*: the types of the operations, in TensorFlow's words.
- *takes*: element types of the first argument. *floats*: float16, bfloat16, float32, float64; *integers*: int8 to int64 and uint8 to
  uint64; *numbers*: both; *complex*: complex64, complex128.
- *shapes*: of a sample, arguments and results.
- *gradient*: *yes*: derived from the expansion into primitives; *own*: by a rule of its own. Either is differentiable again, to any order.
- *kernels*: what the default pipeline makes of the sample: *loop*, *row*, *column* and *dot* are fused kernels
  ([design.md](design.md)), anything else is the primitive that stands alone; *none*: views and constants only.
"""
GROUPS: tuple[tuple[str, tuple[DType, ...]], ...] = (
    ("floats", tuple(t for t in dtypes.ALL if t.is_floating)), ("integers", tuple(t for t in dtypes.ALL if t.is_integer)),
    ("bool", (dtypes.bool,)), ("complex", tuple(t for t in dtypes.ALL if t.is_complex)))


# One function ----------------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Entry:
    names: tuple[str, ...]
    function: Any
    cases: tuple[Case, ...]

    @property
    def case(self) -> Case:
        """The sample to show: of floats where there are some, of matrices or more, without empty arrays."""
        def worth(case: Case) -> tuple[bool, bool, int]:
            sizes = [a.size for a in case.arrays]
            plain = 0 not in sizes and max(sizes, default=0) < 2000
            return plain, case.arrays[0].dtype == "float32" if case.arrays else False, min(max((a.ndim for a in case.arrays), default=0), 3)
        return max(self.cases, key=worth)


def entries() -> list[Entry]:
    """One for each function, under all its names, in the order of the first."""
    cases: dict[str, list[Case]] = {}
    for case in itertools.chain.from_iterable(FAMILIES.values()):
        cases.setdefault(case.subject, []).append(case)
    names: dict[Any, list[str]] = {}
    for name, function in public_functions().items():
        names.setdefault(function, []).append(name)

    def ranked(name: str) -> tuple[bool, int, str]:
        return name in OLD_NAMES, name.count("."), name

    def samples(own: Iterable[str]) -> tuple[Case, ...]:
        return tuple(case for name in own for case in cases.get(name, ()))
    found = [Entry(tuple(sorted(own, key=ranked)), function, samples(own)) for function, own in names.items()]
    return sorted(found, key=lambda entry: entry.names[0])


def _signature(function: Any) -> str:
    def shown(p: inspect.Parameter) -> str:
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = p.default.name if isinstance(p.default, DType) else f"{p.default!r}"
        return f"{star}{p.name}" + ("" if p.default is p.empty else f"={default if len(default) < 40 else '...'}")
    return f"({', '.join(shown(p) for p in inspect.signature(function).parameters.values())})"


def _operations(case: Case) -> list[str]:
    """Types of the operations behind the results, but for constants."""
    with gc.Graph().as_default():
        outputs, _ = declare(case, [a.shape for a in case.arrays])
        return sorted({operation.type for operation in operations_behind(outputs)} - set(SOURCES))


def _accepts(case: Case, kind: DType) -> bool:
    """Whether the sample can be declared with `kind` in place of the type of its first array."""
    first = case.arrays[0].dtype
    with gc.Graph().as_default():
        try:
            declare(case, [a.shape for a in case.arrays], [kind if a.dtype == first else a.dtype for a in case.arrays])
        except (TypeError, ValueError, OpError, KeyError):
            return False
        return True


def accepted(entry: Entry) -> frozenset[DType]:
    """The element types of the first argument that some sample can be declared with."""
    found = {dtypes.as_dtype(case.arrays[0].dtype) for case in entry.cases if case.arrays}
    tried = [next((c for c in entry.cases if c.arrays and dtypes.as_dtype(c.arrays[0].dtype) in group), None) for _, group in GROUPS]
    for case in filter(None, tried):
        found |= {kind for kind in dtypes.ALL if kind not in found and _accepts(case, kind)}
    return frozenset(found)


def _types(found: frozenset[DType]) -> str:
    if not found:
        return ""
    if all(kind in found for kind in dtypes.ALL):
        return "all"
    words: list[str] = []
    for name, group in GROUPS:
        own = [kind for kind in group if kind in found]
        words += [name] if len(own) == len(group) else [kind.name for kind in own]
    text = ", ".join(words)
    return text.replace("floats, integers", "numbers")


def _shapes(case: Case) -> str:
    with gc.Graph().as_default():
        outputs, _ = declare(case, [a.shape for a in case.arrays])
        return f"{_list(a.shape for a in case.arrays)} → {_list(t.shape_tuple for t in outputs)}"


def _list(shapes: Iterable[Sequence[Any] | None]) -> str:
    texts = ["?" if shape is None else f"[{','.join('?' if d is None else str(d) for d in shape)}]" for shape in shapes]
    return ", ".join(texts[:4]) + (", ..." if len(texts) > 4 else "")


def _gradient(entry: Entry) -> str:
    """How the function is differentiated, or why it is not."""
    floating = [c for c in entry.cases if c.arrays and any(dtypes.as_dtype(a.dtype).is_floating for a in c.arrays)]
    if not floating:
        return "none: it takes no floating numbers"
    case = max(floating, key=lambda c: (c.slopes, c is entry.case))
    with gc.Graph().as_default():
        outputs, feeds = declare(case, [a.shape for a in case.arrays])
        smooth = [t for t in outputs if t.dtype.is_floating]
        if not smooth:
            return "none: its results are no floating numbers"
        between = operations_behind(outputs)
        found = gc.gradients(smooth, [t for t in feeds if t.dtype.is_floating])
        if all(g is None for g in found):
            flat = sorted(o.type for o in between if o.definition.gradient is False)
            return "none: flat, or stopped on purpose" if flat else "none: piecewise constant"
        return "own" if any(callable(o.definition.gradient) for o in between) else "yes"


def _kernels(case: Case) -> str:
    with gc.Graph().as_default():
        outputs, feeds = declare(case, [a.shape for a in case.arrays])
        if any(operation.definition.stateful for operation in operations_behind(outputs)):
            return "with its variables"
        try:
            program = specialise(outputs, {t: TensorType(t.dtype, a.shape) for t, a in feeds.items()})
        except Exception as error:
            if type(error).__name__ in ("ValueNeeded", "ComputedValueNeeded"):
                return "sized by a value: in two stages"
            raise
    counts = Counter(name for node in _after(program).nodes if (name := _kernel(node)))
    return ", ".join(f"{name} x{count}" if count > 1 else name for name, count in counts.items()) or "none"


def _after(program: Program) -> Program:
    return run_pipeline(program, DEFAULT)[-1].program


def _kernel(node: Node) -> str:
    """What a node is as a kernel, "" where it is none."""
    if node.name == "fusion":
        return str(node.attrs.kind)
    form = type(node.primitive.loop).__name__
    return "" if form in ("View", "State", "Region") or node.name in ("constant", "get_tuple_element") else node.name


# The page --------------------------------------------------------------------------------------------------------------------------------

def _row(entry: Entry) -> str:
    first, *others = entry.names
    name = f"`gc.{first}`" + (f" ({', '.join(f'`{n}`' for n in others)})" if others else "")
    cells = [name, f"`{_signature(entry.function)}`"]
    if not entry.cases:
        cells += [ELSEWHERE_FUNCTIONS.get(next((n for n in entry.names if n in ELSEWHERE_FUNCTIONS), ""), ""), "", "", "", ""]
    else:
        types = _operations(entry.case)
        cells += [", ".join(types[:6]) + (f" and {len(types) - 6} more" if len(types) > 6 else ""), _types(accepted(entry)),
                  _shapes(entry.case), _gradient(entry), _kernels(entry.case)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def page() -> str:
    spaces: dict[str, list[Entry]] = {}
    for entry in entries():
        spaces.setdefault(entry.names[0].rpartition(".")[0], []).append(entry)
    parts = [HEAD]
    for space, own in sorted(spaces.items()):
        parts.append("\n".join([f"## {f'gc.{space}' if space else 'gc'}", "",
                                "| function | arguments | declares | takes | shapes | gradient | kernels |",
                                "| --- | --- | --- | --- | --- | --- | --- |", *map(_row, own), ""]))
    return "\n".join([*parts, _differences()])


def _differences() -> str:
    """The table of differences from TensorFlow 1.15 that its judge allows."""
    rows = [[part.strip() for part in line.split(" | ")] for line in DIFFERENCES.read_text().splitlines() if line and line[0] != "#"]
    shown = [f"| `{code}` | {what} | {why} |" for code, what, why in rows if code not in ("signature", "no sample")]
    return "\n".join(["## Where TensorFlow 1.15 answers otherwise", "", "What `tests/test_judge.py` allows, with the reason.", "",
                      "| code | differs in | why |", "| --- | --- | --- |", *shown, ""])


def test_the_page_is_up_to_date(request: pytest.FixtureRequest) -> None:
    made = page()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(made)
    assert PAGE.read_text() == made, "run pytest tests/test_operations_page.py --update-golden"


def test_every_function_is_on_the_page() -> None:
    text = PAGE.read_text()
    missing = [name for entry in entries() for name in entry.names[:1] if f"| `gc.{name}`" not in text]
    assert missing == []
