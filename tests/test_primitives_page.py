"""docs/primitives.md is made from the declarations: every primitive on one line. `pytest --update-golden` writes it anew."""
from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import graphc.primitives as p
from graphc.core.primitive import PRIMITIVES, NotDifferentiable, Primitive

PAGE = Path(__file__).resolve().parent.parent / "docs" / "primitives.md"
FAMILIES = {
    "sources": "Made from nothing",
    "broadcast": "Shape, repetition and sum",
    "movement": "Moved",
    "windows": "Sliding windows",
    "reduce_window": "Reductions of windows",
    "suppression": "Choice of boxes",
    "logic": "Choosing, testing, bits",
    "arithmetic": "Arithmetic and mathematics",
    "reduction": "Reductions",
    "cumulative": "Running along an axis",
    "sorting": "Orders",
    "indexing": "Rows by index",
    "dynamic": "Boxes by place",
    "contraction": "Products",
    "linear_algebra": "Systems of equations",
    "factorisations": "Factorisations of matrices",
    "matrix_functions": "Functions of matrices",
    "complex": "Complex numbers",
    "fft": "Fourier transforms",
    "convolution": "Convolutions",
    "state": "State and regions",
}
HEAD = """# The primitives

Everything that the compiler knows, one line each, made from the declarations in `graphc/primitives/`. There is no broadcasting and no
conversion at this level: operands of an elementwise primitive have one type. Everything else that a user declares is a composite of these
(`graphc/ops/`). The gradient of a primitive is itself made of primitives, so gradients have gradients.
"""


def _family(primitive: Primitive) -> str:
    """The file that declares it."""
    declared = re.compile(rf'\(\s*"{primitive.name}", ')
    (found,) = [family for family in FAMILIES if declared.search((Path(p.__file__).parent / f"{family}.py").read_text())]
    return found


def _line(primitive: Primitive) -> str:
    operands = "any" if primitive.arity is None else str(primitive.arity)
    attributes = ", ".join(f.name for f in dataclasses.fields(primitive.attrs))
    gradient = f"none: {primitive.vjp.why}" if isinstance(primitive.vjp, NotDifferentiable) else "yes"
    meaning = primitive.doc.replace("|", "\\|")
    return f"| `{primitive.name}` | {operands} | {attributes} | {type(primitive.loop).__name__} | {gradient} | {meaning} |"


def page() -> str:
    parts = [HEAD]
    for family, title in FAMILIES.items():
        rows = [_line(primitive) for primitive in PRIMITIVES.values() if _family(primitive) == family]
        parts.append("\n".join([f"## {title}", "", "| primitive | operands | attributes | loop form | gradient | meaning |",
                                "| --- | --- | --- | --- | --- | --- |", *rows, ""]))
    return "\n".join(parts)


def test_the_page_is_up_to_date(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "run pytest tests/test_primitives_page.py --update-golden"


def test_every_primitive_is_on_the_page() -> None:
    text = page()
    assert [name for name in PRIMITIVES if f"| `{name}` |" not in text] == []
