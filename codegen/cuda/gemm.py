"""Which kernels are a matrix product that cublasLt can do whole, epilogue included. Between lowering and the CUDA runtime.

cublasLt computes, for each of a batch of matrices,

    D = epilogue(alpha * A * B + beta * C + bias)

where the epilogue is nothing, relu, or gelu by tanh, which may also store its argument, `aux`; or, on the way back through that,

    D = alpha * A * B * gelu'(aux)

(The library's way back through relu fits no kernel of ours: it wants a mask of bits.)
`gemm_of` reads a kernel as `lower` made it: every load and store must be a matrix in memory (one index contiguous, the other at a leading
dimension), and the value stored must mean one of these formulas. What does not is left to the generated kernel; `explain` says why.

Exactness. The formulas are compared as polynomials of real numbers, so roundings may fall elsewhere; in particular, a 16-bit result is
rounded once, where the kernel may round the bare product first. The library's relu turns NaN into 0, while graphc's `maximum` keeps it:
`Gemm.hides_nan` tells.

Everything is seen row by row, as in numpy. cublasLt counts columns first: the runtime gives it the transposed problem, D' = B' * A', in the
same memory, and there the bias of each j lies along the rows of D' as the library wants.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from graphc.codegen import ir
from graphc.codegen.cuda.gelu import gelu_argument, gelu_slope
from graphc.codegen.cuda.polynomial import Function, Monomial, Polynomial, Reader, close
from graphc.codegen.linear import Linear, linear
from graphc.core import dtypes
from graphc.core.dtypes import DType

_HALVES = (dtypes.float16, dtypes.bfloat16)
_CONSTANT_ERROR = {dtypes.float16: 2.0**-9, dtypes.bfloat16: 2.0**-6}  # of coefficients made of rounded constants
MOST_ROUNDS = 64  # calls of the library for one product: more cost more than they gain
_AUX_LEADING, _AUX_BYTES = 8, 16  # cublasLt: the leading dimension of aux is a multiple of 8, its address of 16 bytes


@dataclass(frozen=True)
class Matrix:
    """Where a matrix lies: row r, column c of matrix b of the batch, of round t, is element

        offset + t * round_stride + b * batch_stride + r * leading + c

    of kernel parameter number `parameter` (all in elements). `transposed`: the product takes the matrix's rows as its columns. A bias has
    one row, which serves every row of the result.
    """

    parameter: int
    offset: int
    leading: int
    batch_stride: int
    transposed: bool = False
    round_stride: int = 0


@dataclass(frozen=True)
class Gemm:
    """D[b, i, j] = epilogue(alpha * sum over k of A[b, i, k] B[b, k, j] + beta * C[b, i, j] + bias[j]), i < m, j < n, k < depth `k`.

    dtype: of A and B; out_dtype: of C, D, bias and aux. Sums are float32 (float64 for float64). epilogue: the library's name without
    its prefix. aux: what gelu is taken of, written by GELU_AUX; or read (`reads_aux`), what the slope of gelu is taken at, for DGELU, which
    has no C and no bias. Of the shape of D; that D may lie over it where it is read, the library does not promise. rounds: calls of the
    library, one a batch: for batches of batches whose matrices do not follow one another at one distance.
    """

    m: int
    n: int
    k: int
    batch: int
    dtype: DType
    out_dtype: DType
    a: Matrix
    b: Matrix
    d: Matrix
    c: Matrix | None
    bias: Matrix | None
    aux: Matrix | None
    alpha: float
    beta: float
    epilogue: str
    rounds: int = 1

    @property
    def flops(self) -> int:
        return 2 * self.m * self.n * self.k * self.batch * self.rounds

    @property
    def hides_nan(self) -> bool:
        """Whether a NaN may come out as 0."""
        return self.epilogue.startswith("RELU")

    @property
    def reads_aux(self) -> bool:
        """Whether `aux` is an operand, not a result."""
        return self.epilogue == "DGELU"

    def describe(self) -> str:
        """One line for reports: "cublasLt: D = relu(A*B + bias), f32 512x512x512"."""
        a, b = ("A'" if self.a.transposed else "A"), ("B'" if self.b.transposed else "B")
        terms = f"{_factor(self.alpha)}{a}*{b}" + (f" + {_factor(self.beta)}C" if self.c else "") + (" + bias" if self.bias else "")
        function = self.epilogue.split("_")[0].lower()
        wrapped = {"relu": f"relu({terms})", "gelu": f"gelu({terms})", "dgelu": f"{terms} * gelu'(aux)"}.get(function, terms)
        stored = "D, aux" if self.aux and not self.reads_aux else "D"
        types = self.dtype.code if self.dtype is self.out_dtype else f"{self.dtype.code} to {self.out_dtype.code}"
        batch = "".join(f" x {count}" for count in (self.batch, self.rounds) if count > 1)
        return f"cublasLt: {stored} = {wrapped}, {types} {self.m}x{self.n}x{self.k}{batch}"


class _NoGemm(Exception):
    """Why a kernel is not one call of cublasLt."""


def gemm_of(kernel: ir.Kernel) -> Gemm | None:
    """The call of cublasLt that is the whole of `kernel` (as lowered, not scheduled), None where there is none."""
    try:
        return _match(kernel)
    except _NoGemm:
        return None


def explain(kernel: ir.Kernel) -> str:
    """In words: what `gemm_of` made of `kernel`, or why it is None."""
    try:
        return _match(kernel).describe()
    except _NoGemm as reason:
        return f"not for cublasLt: {reason}"


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise _NoGemm(reason)


def _factor(value: float) -> str:
    return "" if value == 1 else "-" if value == -1 else f"{value:.9g}*"


# Where matrices lie -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """An access as a number of elements: offset + i * row + j * column + ... by variable, extents of 1 left out."""

    parameter: int
    dtype: DType
    offset: int
    strides: Mapping[str, int]

    def stride(self, var: ir.Var) -> int:
        return self.strides.get(var.name, 0)


@dataclass(frozen=True)
class _Nest:
    """The loops of the kernel: `batches` around the product, outer first."""

    kernel: ir.Kernel
    batches: tuple[ir.Loop, ...]
    product: ir.Product

    @property
    def extents(self) -> dict[str, int]:
        p = self.product
        return {loop.var.name: loop.extent for loop in self.batches} | {p.i.name: p.m, p.j.name: p.n, p.k.name: p.depth}

    def place(self, buffer: ir.Buffer, index: tuple[ir.Expr, ...], where: ir.Expr | None) -> _Place:
        """Where an access lies; no gemm where it is not affine, or guarded."""
        _require(where is None, f"an access to {buffer.name} is guarded")
        known = {name: Linear(0, ((name, 1),)) for name in self.extents}
        position = Linear(0)
        for expr, dim in zip(index, buffer.shape, strict=True):
            form = linear(expr, known)
            if form is None:
                raise _NoGemm(f"{buffer.name} is read or written at an index that is not affine")
            position = position.times(dim).plus(form)
        numbers = [n for n, param in enumerate(self.kernel.params) if param.name == buffer.name]
        _require(len(numbers) == 1, f"{buffer.name} is no parameter")
        strides = {name: stride for name, stride in position.terms if self.extents[name] > 1}
        return _Place(numbers[0], buffer.dtype, position.const, strides)

    def matrix(self, place: _Place, row: ir.Var, column: ir.Var, batch: _Batch) -> Matrix | None:
        """`place` as a matrix stored row by row, None where its columns are not contiguous or its rows overlap."""
        rows, columns = self.extents[row.name], self.extents[column.name]
        if set(place.strides) - {row.name, column.name, *(loop.var.name for loop in self.batches)}:
            return None
        if columns > 1 and place.stride(column) != 1:
            return None
        leading = place.stride(row) if rows > 1 else columns
        if leading < columns:
            return None
        return Matrix(place.parameter, place.offset, leading, batch.stride(place), round_stride=batch.round_stride(place))


@dataclass(frozen=True)
class _Batch:
    """The batch loops as one: `loops` inner first. outer: the loop whose iterations are calls of their own."""

    loops: tuple[ir.Loop, ...] = ()
    outer: ir.Loop | None = None

    @property
    def rounds(self) -> int:
        return 1 if self.outer is None else self.outer.extent

    @property
    def extent(self) -> int:
        return math.prod(loop.extent for loop in self.loops)

    def stride(self, place: _Place) -> int:
        return place.stride(self.loops[0].var) if self.loops else 0

    def round_stride(self, place: _Place) -> int:
        return 0 if self.outer is None else place.stride(self.outer.var)


def _collapsed(nest: _Nest, places: Iterable[_Place]) -> _Batch:
    """One stride from each matrix of the batch to the next, for every operand; else a call for each iteration of one loop, the shorter; no
    gemm where those are too many."""
    loops = tuple(loop for loop in reversed(nest.batches) if loop.extent > 1)
    places = tuple(places)
    for order in (loops, loops[::-1]):
        if all(place.stride(outer.var) == inner.extent * place.stride(inner.var)
               for place in places for inner, outer in pairwise(order)):  # fmt: skip
            return _Batch(order)
    outer, inner = sorted(loops, key=lambda loop: loop.extent)
    _require(outer.extent <= MOST_ROUNDS, "the matrices of the batch do not follow one another at one distance")
    return _Batch((inner,), outer)


# What is stored -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Formula:
    """D in terms of `argument`, which should be linear: alpha * acc + loads. aux: what DGELU reads beside that."""

    epilogue: str
    argument: Polynomial
    aux: ir.Load | None = None


def _formula(value: Polynomial, acc: ir.Var, reader: Reader, error: float) -> _Formula:
    """The epilogue of the sums `acc` that `value` is. `error`: relative, of coefficients."""
    functions = {atom for monomial, _ in value.terms for atom in monomial if isinstance(atom, Function)}
    if not functions:
        return _Formula("DEFAULT", value)
    _require(len(functions) == 1, "the epilogue has several functions")
    function = functions.pop()
    if function.op == "maximum" and function.args[1] == reader.number(0.0) and value == reader.atom(function):
        return _Formula("RELU", function.args[0])
    argument = gelu_argument(value, function, reader, error)
    if argument is not None:
        return _Formula("GELU", argument)
    slope = gelu_slope(value, acc, function, reader, error)
    if slope is None:
        raise _NoGemm(f"the epilogue has {function.op} in a form that the library does not have")
    alpha, aux = slope
    return _Formula("DGELU", reader.scaled(reader.atom(acc), alpha), aux)


# The whole kernel -----------------------------------------------------------------------------------------------------------------------


def _nest(kernel: ir.Kernel) -> _Nest:
    batches: list[ir.Loop] = []
    body = kernel.body
    while len(body) == 1 and isinstance(body[0], ir.Loop):
        batches.append(body[0])
        body = body[0].body
    if len(body) != 1 or not isinstance(body[0], ir.Product):
        raise _NoGemm("it is no product alone in its loops")
    product = body[0]
    _require(len([loop for loop in batches if loop.extent > 1]) <= 2, "the product stands in more than two loops")
    empty = 0 in (product.m, product.n, product.depth, *(loop.extent for loop in batches))
    _require(not empty, "it is empty")
    return _Nest(kernel, tuple(batches), product)


@dataclass
class _Matcher:
    """One product against the library's formulas. `reader` may look through the rounding of a 16-bit result."""

    nest: _Nest
    out_dtype: DType
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        widening = {self.nest.product.acc.dtype.code, self.out_dtype.code}
        self.reader = Reader(frozenset(widening))

    def operand(self, expr: ir.Expr, side: str) -> tuple[ir.Load, float]:
        """The one load that an operand is, and the constant it is multiplied with."""
        terms = self.reader.read(expr, {}).terms
        _require(len(terms) == 1 and len(terms[0][0]) == 1 and isinstance(terms[0][0][0], ir.Load),
                 f"the {side} side is computed, not just read")  # fmt: skip
        load = terms[0][0][0]
        assert isinstance(load, ir.Load)
        return load, terms[0][1]

    def stores(self) -> list[tuple[ir.Store, Polynomial]]:
        """What each output is."""
        known: dict[str, Polynomial] = {}
        found = []
        for stmt in self.nest.product.epilogue:
            match stmt:
                case ir.Let():
                    known[stmt.var.name] = self.reader.read(stmt.value, known)
                case ir.Store():
                    found.append((stmt, self.reader.read(stmt.value, known)))
                case _:
                    raise _NoGemm("its epilogue is not straight-line code")
        return found


def _match(kernel: ir.Kernel) -> Gemm:
    nest = _nest(kernel)
    product = nest.product
    outputs = [stmt for stmt in product.epilogue if isinstance(stmt, ir.Store)]
    _require(1 <= len(outputs) <= 2, f"it stores {len(outputs)} results")
    out_dtype = outputs[0].buffer.dtype
    matcher = _Matcher(nest, out_dtype)
    stores = matcher.stores()
    formula, stored, aux = _outputs(stores, matcher)
    lhs, lhs_factor = matcher.operand(product.lhs, "left")
    rhs, rhs_factor = matcher.operand(product.rhs, "right")
    _check_dtypes(lhs, rhs, product.acc.dtype, [store.buffer.dtype for store, _ in stores], formula)
    place = {"a": nest.place(lhs.buffer, lhs.index, lhs.where), "b": nest.place(rhs.buffer, rhs.index, rhs.where),
             "d": nest.place(stored.buffer, stored.index, stored.where)}  # fmt: skip
    # A result stored column by column is the transposed product stored row by row.
    if product.n > 1 and place["d"].stride(product.j) != 1:
        exchanged = replace(product, i=product.j, j=product.i, m=product.n, n=product.m)
        nest, place["a"], place["b"] = _Nest(kernel, nest.batches, exchanged), place["b"], place["a"]
    if aux is not None:
        place["aux"] = nest.place(aux.buffer, aux.index, aux.where)
        alike = place["aux"].dtype is out_dtype and set(place["aux"].strides) == set(place["d"].strides)
        _require(alike, "the argument of gelu has another type or shape than its result")
    terms = _terms(formula.argument, nest, place["d"])
    place |= {name: term for name, (term, _) in terms.items()}
    batch = _collapsed(nest, [p for name, p in place.items() if name != "bias"])
    matrices = _matrices(nest, place, batch)
    alpha = _alpha(formula.argument, product.acc) * lhs_factor * rhs_factor
    epilogue = formula.epilogue + ("_AUX" if isinstance(aux, ir.Store) else "")
    if "bias" in matrices:
        epilogue = "BIAS" if epilogue == "DEFAULT" else f"{epilogue}_BIAS"
    beta = terms["c"][1] if "c" in terms else 0.0
    sizes = (nest.product.m, nest.product.n, nest.product.depth, batch.extent)
    return Gemm(*sizes, lhs.dtype, out_dtype, matrices["a"], matrices["b"], matrices["d"], matrices.get("c"), matrices.get("bias"),
                matrices.get("aux"), alpha, beta, epilogue, batch.rounds)  # fmt: skip


def _outputs(stores: list[tuple[ir.Store, Polynomial]], matcher: _Matcher) -> tuple[_Formula, ir.Store, ir.Store | ir.Load | None]:
    """The formula of D, where D is stored, and where the argument of its gelu is, if it is stored too or read."""
    error = _CONSTANT_ERROR.get(matcher.out_dtype, 1e-5)
    formulas = [_formula(value, matcher.nest.product.acc, matcher.reader, error) for _, value in stores]
    if len(stores) == 1:
        return formulas[0], stores[0][0], formulas[0].aux
    last = next((n for n, formula in enumerate(formulas) if formula.epilogue == "GELU"), None)
    if last is None or not close(stores[1 - last][1], formulas[last].argument, error):
        raise _NoGemm("it stores two results that are not gelu and its argument")
    return formulas[last], stores[last][0], stores[1 - last][0]


def _check_dtypes(lhs: ir.Load, rhs: ir.Load, acc: DType, outs: list[DType], formula: _Formula) -> None:
    """The table of types in the library's documentation of cublasLtMatmul, as far as our products go."""
    _require(lhs.dtype is rhs.dtype, "its sides have different types")
    _require(acc is (dtypes.float64 if lhs.dtype is dtypes.float64 else dtypes.float32), f"its sums are {acc.name}")
    _require(len(set(outs)) == 1, "its results have different types")
    allowed = {dtypes.float64: {dtypes.float64}, dtypes.float32: {dtypes.float32}} | {h: {h, dtypes.float32} for h in _HALVES}
    _require(outs[0] in allowed.get(lhs.dtype, set()), f"the library has no product of {lhs.dtype.name} that gives {outs[0].name}")
    plain = formula.epilogue == "DEFAULT" and len(outs) == 1
    _require(plain or lhs.dtype is not dtypes.float64, "the library has no activations in float64")


def _alpha(argument: Polynomial, acc: ir.Var) -> float:
    alpha = argument.coefficients.get((acc,), 0.0)
    _require(alpha != 0.0, "its result does not depend on the product")
    return alpha


def _terms(argument: Polynomial, nest: _Nest, d: _Place) -> dict[str, tuple[_Place, float]]:
    """What is added to the product: "c", of the shape of D, and "bias", of one row of it; with their factors."""
    found: dict[str, tuple[_Place, float]] = {}
    for monomial, factor in argument.terms:
        if monomial == (nest.product.acc,):
            continue
        place = _added(monomial, nest, d)
        role = "c" if set(place.strides) == set(d.strides) else "bias"
        _require(role not in found, "it adds two matrices or two biases")
        found[role] = (place, factor)
    _require(found.get("bias", (d, 1.0))[1] == 1.0, "its bias is scaled")
    return found


def _added(monomial: Monomial, nest: _Nest, d: _Place) -> _Place:
    load = monomial[0] if len(monomial) == 1 else None
    if not isinstance(load, ir.Load):
        raise _NoGemm("its epilogue is not alpha * product + beta * matrix + bias")
    place = nest.place(load.buffer, load.index, load.where)
    _require(place.dtype is d.dtype, "what it adds has another type than its result")
    return place


def _matrices(nest: _Nest, place: Mapping[str, _Place], batch: _Batch) -> dict[str, Matrix]:
    """Every operand as the library takes it; no gemm where one is not a matrix."""
    p = nest.product
    roles = {"a": (p.i, p.k), "b": (p.k, p.j), "c": (p.i, p.j), "d": (p.i, p.j), "aux": (p.i, p.j)}
    found: dict[str, Matrix] = {}
    for name, where in place.items():
        if name == "bias":
            matrix = _bias(where, p)
        else:
            row, column = roles[name]
            matrix = nest.matrix(where, row, column, batch)
            if matrix is None and name in "ab":
                turned = nest.matrix(where, column, row, batch)
                matrix = None if turned is None else replace(turned, transposed=True)
        if matrix is None:
            raise _NoGemm(f"{nest.kernel.params[where.parameter].name} is not a matrix with contiguous rows or columns")
        if name == "aux":
            aligned = matrix.leading % _AUX_LEADING == 0 and all(
                x * where.dtype.size % _AUX_BYTES == 0 for x in (matrix.offset, matrix.batch_stride, matrix.round_stride))  # fmt: skip
            _require(aligned, "the argument of gelu is not aligned as the library wants it")
        found[name] = matrix
    return found


def _bias(where: _Place, product: ir.Product) -> Matrix | None:
    """A row that is added to every row of every matrix."""
    return Matrix(where.parameter, where.offset, product.n, 0) if where.strides == ({product.j.name: 1} if product.n > 1 else {}) else None
