"""The text form of a kernel: `print_kernel` here, its inverse in `parse.py`. The dump is the test input.

    kernel softmax(x: f32[64,1000] in, y: f32[64,1000] out) {
      for r in 64 parallel {
        acc m: f32 = -inf_f32
        for c in 1000 vector(16, 4) {
          m maximum= x[r, c]
        }
        acc s: f32 = 0.0_f32
        for c in 1000 vector(16, 4) {
          let p: f32 = exponential(x[r, c] - m)
          y[r, c] = p
          s add= p
        }
        ...
      }
    }

Constants carry their dtype but for int64 ("7") and bool ("true"). Arithmetic and comparisons are infix, all else is `op(...)`; the type of
a result is written only where the operands do not give it: `convert(x): f32`. A load or store under a condition is
`x[r, c - 1 where c >= 1]`.
"""
from __future__ import annotations

from graphc.codegen import ir
from graphc.codegen.operations import result_dtype
from graphc.core import dtypes

INDENT = "  "
# Infix operators: sign and how tightly it binds. All are left associative but comparisons, which do not chain.
INFIX = {
    "eq": ("==", 1), "ne": ("!=", 1), "lt": ("<", 1), "le": ("<=", 1), "gt": (">", 1), "ge": (">=", 1),
    "add": ("+", 2), "subtract": ("-", 2), "multiply": ("*", 3), "divide": ("/", 3), "remainder": ("%", 3),
}  # fmt: skip


def print_kernel(kernel: ir.Kernel, *, origins: bool = True) -> str:
    """The text of `kernel`; `parse.parse_kernel` gives it back. `origins` adds a comment that names the operations it came from."""
    comment = f"  // {'; '.join(kernel.origins)}" if origins and kernel.origins else ""
    lines = [f"kernel {kernel.name}({', '.join(f'{_buffer(b)} {b.space}' for b in kernel.params)}) {{{comment}"]
    lines += _block(kernel.body, INDENT)
    return "\n".join([*lines, "}"])


def print_expr(expr: ir.Expr, binding: int = 0) -> str:
    """The text of an expression; in parentheses where it binds less tightly than `binding`."""
    match expr:
        case ir.Var():
            return expr.name
        case ir.Const():
            return _constant(expr)
        case ir.Load():
            return _access(expr.buffer, expr.index, expr.where)
        case ir.Apply():
            return _apply(expr, binding)


def _buffer(buffer: ir.Buffer) -> str:
    return f"{buffer.name}: {buffer.dtype.code}[{','.join(map(str, buffer.shape))}]"


def _block(body: tuple[ir.Stmt, ...], indent: str) -> list[str]:
    return [indent + line for stmt in body for line in _stmt(stmt)]


def _stmt(stmt: ir.Stmt) -> list[str]:
    match stmt:
        case ir.Let(var, value):
            return [f"let {_typed(var)} = {print_expr(value)}"]
        case ir.Acc(var, init):
            return [f"acc {_typed(var)} = {print_expr(init)}"]
        case ir.Update(var, combine, value):
            return [f"{var.name} {combine}= {print_expr(value)}"]
        case ir.Local(buffer):
            return [f"{buffer.space} {_buffer(buffer)}"]
        case ir.Store():
            return [f"{_access(stmt.buffer, stmt.index, stmt.where)} = {print_expr(stmt.value)}"]
        case ir.Prefetch():
            return [f"prefetch {_access(stmt.buffer, stmt.index, None)}"]
        case ir.If(cond, body):
            return [f"if {print_expr(cond)} {{", *_block(body, INDENT), "}"]
        case ir.Loop():
            kind = f"{stmt.kind}({stmt.lanes}, {stmt.parts})" if stmt.kind in ir.SPREAD_KINDS else stmt.kind
            return [f"for {stmt.var.name} in {stmt.extent} {kind} {{", *_block(stmt.body, INDENT), "}"]
        case ir.Product():
            over = f"{stmt.i.name} in {stmt.m}, {stmt.j.name} in {stmt.n}, {stmt.k.name} in {stmt.depth}"
            head = f"product {_typed(stmt.acc)} over {over} of {print_expr(stmt.lhs)} times {print_expr(stmt.rhs)} {{"
            return [head, *_block(stmt.epilogue, INDENT), "}"]


def _typed(var: ir.Var) -> str:
    return f"{var.name}: {var.dtype.code}"


def _access(buffer: ir.Buffer, index: tuple[ir.Expr, ...], where: ir.Expr | None) -> str:
    inner = ", ".join(map(print_expr, index))
    if where is not None:
        inner += f"{' ' if index else ''}where {print_expr(where)}"
    return f"{buffer.name}[{inner}]"


def _constant(const: ir.Const) -> str:
    if const.dtype.is_bool:
        return "true" if const.value else "false"
    if const.dtype is dtypes.int64:
        return str(int(const.value))
    value = float(const.value) if const.dtype.is_floating else int(const.value)
    return f"{value!r}_{const.dtype.code}"


def _apply(expr: ir.Apply, binding: int) -> str:
    implied = result_dtype(expr.op, [arg.dtype for arg in expr.args]) is expr.dtype
    if expr.op in INFIX and implied:
        sign, tightness = INFIX[expr.op]
        left = tightness + 1 if tightness == 1 else tightness
        text = f"{print_expr(expr.args[0], left)} {sign} {print_expr(expr.args[1], tightness + 1)}"
        return f"({text})" if tightness < binding else text
    text = f"{expr.op}({', '.join(map(print_expr, expr.args))})"
    return text if implied else f"{text}: {expr.dtype.code}"
