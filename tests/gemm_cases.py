"""Products for cublasLt as cases: sizes and options, where their matrices lie, and what numpy says that memory holds after the run."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from graphc.codegen.cuda.gemm import Gemm, Matrix
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.runtime.cuda.cublaslt import EPILOGUES

Array = np.ndarray[Any, Any]
F32, F64, F16, BF16 = dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16
A, B, C, D, BIAS, AUX = range(6)  # kernel parameters of the cases
MASK_BITS = 128  # the library's relu stores bits, with a leading dimension of so many


@dataclass(frozen=True)
class Case:
    """A product by its sizes and options; `gemm` says where its matrices lie. shift: elements before each; gap: between rows."""

    id: str
    m: int = 5
    n: int = 8
    k: int = 7
    batch: int = 1
    rounds: int = 1
    dtype: DType = F32
    out_dtype: DType = F32
    epilogue: str = "DEFAULT"
    turned: tuple[bool, bool] = (False, False)
    shared_b: bool = False
    in_place: bool = False
    alpha: float = 1.0
    beta: float = 0.0
    shift: int = 0
    gap: int = 0
    precision: str = "float32"
    algorithm: int = 0

    @property
    def masks(self) -> bool:
        return "RELU_AUX" in self.epilogue or "DRELU" in self.epilogue

    @property
    def gemm(self) -> Gemm:
        def matrix(parameter: int, rows: int, columns: int, turned: bool = False, batch: bool = True) -> Matrix:
            rows, columns = (columns, rows) if turned else (rows, columns)
            leading = columns + self.gap
            stride = self.shift + rows * leading if batch else 0
            return Matrix(parameter, self.shift, leading, stride, turned, self.batch * stride + 1 if self.rounds > 1 and batch else 0)

        a, b = matrix(A, self.m, self.k, self.turned[0]), matrix(B, self.k, self.n, self.turned[1], not self.shared_b)
        d = matrix(D, self.m, self.n)
        c = None if not self.beta else replace(d, parameter=D if self.in_place else C)
        has_bias = "BIAS" in self.epilogue or "BGRAD" in self.epilogue
        bias = Matrix(BIAS, self.shift, self.n, 0) if has_bias else None
        has_aux = "AUX" in self.epilogue or "DGELU" in self.epilogue or self.masks
        aux = Matrix(AUX, 0, MASK_BITS, self.m * MASK_BITS) if self.masks else replace(d, parameter=AUX) if has_aux else None
        return Gemm(self.m, self.n, self.k, self.batch, self.dtype, self.out_dtype, a, b, d, c, bias, aux, self.alpha, self.beta,
                    self.epilogue, self.rounds)  # fmt: skip


_TYPES = ((F32, F32), (F64, F64), (F16, F16), (BF16, BF16), (F16, F32), (BF16, F32))
_PLAIN = Case("", alpha=0.5, beta=-2.0)
CASES = {case.id: case for case in [
    Case("bare"), Case("one-element", m=1, n=1, k=1), Case("one-row", m=1), Case("one-column", n=1), Case("one-term", k=1),
    Case("larger", m=33, n=65, k=130),
    *(replace(_PLAIN, id=f"{a.code}-{d.code}", dtype=a, out_dtype=d) for a, d in _TYPES),
    *(replace(_PLAIN, id=f"turned-{int(left)}{int(right)}", turned=(left, right), gap=3, shift=5) for left in (False, True)
      for right in (False, True)),
    *(replace(_PLAIN, id=f"batch-turned-{int(left)}{int(right)}", turned=(left, right), batch=3, gap=1) for left in (False, True)
      for right in (False, True)),
    Case("shared-b", batch=4, shared_b=True), Case("shared-b-bias", batch=4, shared_b=True, epilogue="BIAS"),
    replace(_PLAIN, id="rounds", batch=3, rounds=4), Case("rounds-bias", rounds=2, epilogue="GELU_AUX_BIAS"),
    replace(_PLAIN, id="rounds-shared-b", batch=2, rounds=3, shared_b=True, turned=(True, True)),
    replace(_PLAIN, id="in-place", in_place=True), replace(_PLAIN, id="in-place-batch", in_place=True, batch=2, gap=2),
    *(Case(epilogue.lower(), epilogue=epilogue, gap=8, turned=(True, False)) for epilogue in EPILOGUES),
    *(Case(f"{epilogue.lower()}-f16", epilogue=epilogue, dtype=F16, out_dtype=F16, alpha=2.0)
      for epilogue in ("BIAS", "RELU_BIAS", "GELU_BIAS", "GELU_AUX_BIAS", "DGELU")),
    *(Case(f"{epilogue.lower()}-batch", epilogue=epilogue, batch=3) for epilogue in ("BIAS", "GELU_AUX", "DGELU", "RELU_AUX", "DRELU")),
    Case("bias-with-c", epilogue="GELU_BIAS", alpha=0.5, beta=3.0), Case("bias-f64", epilogue="BIAS", dtype=F64, out_dtype=F64),
    *(Case(f"precision-{precision}", precision=precision, k=50) for precision in ("tfloat32", "bfloat16", "float16")),
    Case("precision-of-f16-stays", precision="bfloat16", dtype=F16, out_dtype=F16),
    Case("precision-of-f64-stays", precision="tfloat32", dtype=F64, out_dtype=F64),
    Case("second-algorithm", epilogue="BIAS", algorithm=1),
]}  # fmt: skip


def memory_of(case: Case) -> dict[int, Array]:
    """What every parameter's memory holds before the run: random; what the run should write is found by comparing."""
    rng = np.random.default_rng(len(case.id))
    gemm = case.gemm
    sizes = {A: gemm.a, B: gemm.b, C: gemm.c, D: gemm.d, BIAS: gemm.bias, AUX: gemm.aux}
    found = {}
    for number, matrix in sizes.items():
        dtype = case.dtype if number in (A, B) else case.out_dtype
        if number == AUX and case.masks:
            found[number] = rng.integers(0, 256, case.batch * case.m * MASK_BITS // 8).astype(np.uint8)
        elif matrix is not None:
            rows = max(case.m, case.n, case.k)
            start = matrix.offset + (case.rounds - 1) * matrix.round_stride + (case.batch - 1) * matrix.batch_stride
            count = start + rows * max(matrix.leading, 1)
            found[number] = rng.standard_normal(count).astype(dtype.np_dtype)
    return found


def seen(memory: Array, matrix: Matrix, batch: int, rows: int, columns: int) -> Array:
    """The matrices [batch, rows, columns] that the product takes, as a view of `memory`."""
    rows, columns = (columns, rows) if matrix.transposed else (rows, columns)
    item = memory.itemsize
    view = np.lib.stride_tricks.as_strided(memory[matrix.offset:], (batch, rows, columns),
                                           (matrix.batch_stride * item, matrix.leading * item, item))
    return view.transpose(0, 2, 1) if matrix.transposed else view


def rounded(values: Array, precision: str) -> Array:
    """float32 operands as the library's faster products take them."""
    if precision == "tfloat32":
        bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
        return cast(Array, ((bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFFE000).astype(np.uint32).view(np.float32))
    return values.astype(dtypes.as_dtype(precision).np_dtype)


def gelu(x: Array) -> Array:
    return cast(Array, 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def gelu_slope(x: Array, step: float = 1e-6) -> Array:
    return (gelu(x + step) - gelu(x - step)) / (2 * step)


def expected_memory(case: Case) -> dict[int, Array]:
    """Every parameter's memory after the run."""
    memory = {number: array.copy() for number, array in memory_of(case).items()}
    for number in range(case.rounds):
        run_round(case, number, memory)
    return memory


def run_round(case: Case, number: int, memory: dict[int, Array]) -> None:
    """One batch of products, on `memory`."""
    def moved(matrix: Matrix | None) -> Any:
        return matrix and replace(matrix, offset=matrix.offset + number * matrix.round_stride)

    whole = case.gemm
    gemm = replace(whole, **{name: moved(getattr(whole, name)) for name in ("a", "b", "c", "d", "aux")})
    m, n, k, batch = case.m, case.n, case.k, case.batch
    a, b = seen(memory[A], gemm.a, batch, m, k), seen(memory[B], gemm.b, batch, k, n)
    if case.dtype is F32 and case.precision != "float32":
        a, b = rounded(a, case.precision), rounded(b, case.precision)
    total = case.alpha * (a.astype(np.float64) @ b.astype(np.float64))
    d = seen(memory[D], gemm.d, batch, m, n)
    if gemm.c is not None:
        total = total + case.beta * seen(memory[gemm.c.parameter], gemm.c, batch, m, n).astype(np.float64)
    if "BIAS" in case.epilogue:
        total = total + memory[BIAS][case.shift:case.shift + n].astype(np.float64)
    aux = None if gemm.aux is None or case.masks else seen(memory[AUX], gemm.aux, batch, m, n)
    bits = np.unpackbits(memory[AUX], bitorder="little").reshape(batch, m, MASK_BITS) if case.masks else None
    result = total
    if "DGELU" in case.epilogue:
        assert aux is not None
        result = total * gelu_slope(aux.astype(np.float64))
    elif "DRELU" in case.epilogue:
        assert bits is not None
        result = np.where(bits[:, :, :n] != 0, total, 0)
    elif "GELU" in case.epilogue:
        result = gelu(total)
        if aux is not None:
            aux[...] = total
    elif "RELU" in case.epilogue:
        result = np.maximum(total, 0)
        if bits is not None:
            bits[:, :, :n] = total > 0
            memory[AUX][...] = np.packbits(bits, bitorder="little")
    # The library's first operand is our second: BGRADA sums the columns of B, BGRADB the rows of A, the others those of the result.
    sums = {"BGRADA": b.astype(np.float64).sum((0, 1)), "BGRADB": a.astype(np.float64).sum((0, 2))}.get(case.epilogue, result.sum((0, 1)))
    if "BGRAD" in case.epilogue:
        memory[BIAS][case.shift:case.shift + len(sums)] = sums
    d[...] = result
