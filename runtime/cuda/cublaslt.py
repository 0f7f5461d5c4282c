"""cublasLt, NVIDIA's library of matrix products, through ctypes. Between `launches.GemmLaunch`, which says what to compute, and a stream.

    library = Library.find()                              where the library lies; None where there is none (`problem` says what to do)
    plan = library.prepare(gemm, ordinal)                 descriptors and the library's algorithms, best guess first; no launch
    plan.run(stream, addresses, workspace)                allocates nothing and waits for nothing, so a graph can capture it

A `Gemm` speaks of matrices row by row, the library of columns: it is given the transposed problem, D' = B' * A', in the same memory. So our
B is its first operand, and our n its rows. Attribute and status numbers are those of the public header cublasLt.h, of versions 12 and 13.
"""
from __future__ import annotations

import ctypes
import functools
import importlib.util
import math
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from ctypes import POINTER, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from graphc.codegen.cuda.gemm import Gemm, Matrix
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import InternalError

MAJORS = (13, 12)  # versions of the library that have this interface, the best first
WORKSPACE_LIMIT = 32 << 20  # bytes that an algorithm may ask for: what the library's own guide advises for Hopper
ALGORITHMS = 8  # asked of the heuristic, to choose from by measuring
ALIGNMENT = 16  # bytes: what every buffer's address is a multiple of
INSTALL = "install NVIDIA's wheel (pip install nvidia-cublas), or put libcublasLt.so where the loader looks (LD_LIBRARY_PATH)"

EPILOGUES = {"DEFAULT": 1, "RELU": 2, "BIAS": 4, "RELU_BIAS": 2 | 4, "RELU_AUX": 2 | 128, "RELU_AUX_BIAS": 2 | 4 | 128, "DRELU": 8 | 128,
             "DRELU_BGRAD": 8 | 16 | 128, "GELU": 32, "GELU_BIAS": 32 | 4, "GELU_AUX": 32 | 128, "GELU_AUX_BIAS": 32 | 4 | 128,
             "DGELU": 64 | 128, "DGELU_BGRAD": 64 | 16 | 128, "BGRADA": 256, "BGRADB": 512}  # fmt: skip
# BGRADA sums the columns of our B into bias, BGRADB the rows of our A, DRELU_BGRAD and DGELU_BGRAD the columns of D.
PRECISIONS = ("float32", "tfloat32", "bfloat16", "float16")  # what float32 operands may be rounded to; sums are float32 always

_TYPES = {dtypes.float32: 0, dtypes.float64: 1, dtypes.float16: 2, dtypes.bfloat16: 14}  # cudaDataType_t
_COMPUTE = {"float32": 68, "tfloat32": 77, "bfloat16": 75, "float16": 74}  # cublasComputeType_t, by precision
_COMPUTE_64 = 70
_TRANSA, _TRANSB, _EPILOGUE, _BIAS_POINTER, _AUX_POINTER, _AUX_LEADING, _AUX_BATCH_STRIDE = 3, 4, 7, 8, 11, 12, 13  # of a product
_BATCH_COUNT, _BATCH_STRIDE = 5, 6  # of a layout
_WORKSPACE, _REDUCTIONS, _ALIGNMENT_A, _ALIGNMENT_B, _ALIGNMENT_C, _ALIGNMENT_D = 1, 3, 5, 6, 7, 8  # of a preference
_REDUCE_WIDE = 2  # CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: partial sums meet in the type of the sum, never in that of the result
_STATUS = {1: "it does not start: too old a driver, or no context is current", 3: "it could not allocate memory", 7: "an invalid value",
           8: "the device lacks something that it needs", 11: "it could not read memory", 13: "a kernel of it failed",
           14: "an error inside of it", 15: "it does not support this product on this device", 16: "a licence error"}  # fmt: skip
_INVALID_VALUE, _ARCH_MISMATCH, _NOT_SUPPORTED = 7, 8, 15


class CublasError(InternalError):
    """A call of the library failed. `status`: its number."""

    def __init__(self, call: str, status: int) -> None:
        super().__init__(None, None, f"cublasLt: {call} failed with status {status}: {_STATUS.get(status, 'unknown to graphc')}")
        self.status = status


class Unsupported(CublasError):
    """The library cannot compute a product on this device, or any: the generated kernel serves."""


class _Algorithm(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t: an opaque algorithm, and what the library expects of it."""

    _fields_ = (("algorithm", c_uint64 * 8), ("workspace_bytes", c_size_t), ("state", c_int), ("waves", c_float), ("reserved", c_int * 4))


_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "Create": (POINTER(c_void_p),), "Destroy": (c_void_p,),
    "MatmulDescCreate": (POINTER(c_void_p), c_int, c_int), "MatmulDescDestroy": (c_void_p,),
    "MatmulDescSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "MatrixLayoutCreate": (POINTER(c_void_p), c_int, c_uint64, c_uint64, c_int64), "MatrixLayoutDestroy": (c_void_p,),
    "MatrixLayoutSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "MatmulPreferenceCreate": (POINTER(c_void_p),), "MatmulPreferenceDestroy": (c_void_p,),
    "MatmulPreferenceSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    # handle, product, layouts of A, B, C, D, preference, how many are asked for, results, how many there are
    "MatmulAlgoGetHeuristic": (*(c_void_p,) * 7, c_int, POINTER(_Algorithm), POINTER(c_int)),
    # handle, product, alpha, A, its layout, B, its layout, beta, C, its layout, D, its layout, algorithm, workspace, its size, stream
    "Matmul": (*(c_void_p,) * 14, c_size_t, c_void_p),
}  # fmt: skip


class Library:
    """A loaded libcublasLt. `version`: 130000 for 13.0.0. Handles are made when first needed, one a device, and live until `release`."""

    def __init__(self, path: str) -> None:
        """OSError where `path` cannot be loaded, AttributeError where it is another library."""
        self.path = path
        loaded = ctypes.CDLL(path)
        self._functions: dict[str, Callable[..., int]] = {}
        for name, arguments in _SIGNATURES.items():
            function = getattr(loaded, f"cublasLt{name}")
            function.argtypes, function.restype = arguments, c_int
            self._functions[name] = function
        loaded.cublasLtGetVersion.argtypes, loaded.cublasLtGetVersion.restype = (), c_size_t
        self.version = int(loaded.cublasLtGetVersion())
        self._handles: dict[int, c_void_p] = {}
        self._lock = Lock()

    @staticmethod
    def find() -> Library | None:
        """The library of this machine, loaded once; None where `problem` says why."""
        return _found()[0]

    def call(self, name: str, *arguments: Any) -> None:
        """cublasLt`name`(*arguments); CublasError where it fails."""
        status = self._functions[name](*arguments)
        if status:
            raise CublasError(f"cublasLt{name}", status)

    def make(self, kind: str, *arguments: Any) -> c_void_p:
        """A new object of `kind`: "MatmulDesc", "MatrixLayout", "MatmulPreference", or "" for a handle. Its maker destroys it."""
        made = c_void_p()
        self.call(f"{kind}Create", ctypes.byref(made), *arguments)
        return made

    def put(self, kind: str, made: c_void_p, attribute: int, value: Any) -> None:
        """Sets an attribute to a ctypes value."""
        self.call(f"{kind}SetAttribute", made, attribute, ctypes.byref(value), ctypes.sizeof(value))

    def handle(self, ordinal: int) -> c_void_p:
        """The handle of device `ordinal`, whose context must be current. Unsupported where library and driver do not go together."""
        with self._lock:
            if ordinal not in self._handles:
                try:
                    self._handles[ordinal] = self.make("")
                except CublasError as error:
                    raise Unsupported("cublasLtCreate", error.status) from None
            return self._handles[ordinal]

    def release(self, ordinal: int) -> None:
        """Destroys the handle of device `ordinal`, whose context must still be current; plans made for it must not run any more."""
        with self._lock:
            handle = self._handles.pop(ordinal, None)
        if handle is not None:
            self.call("Destroy", handle)

    def prepare(self, gemm: Gemm, ordinal: int = 0, precision: str = "float32") -> Plan:
        """How to run `gemm` on device `ordinal`, whose context must be current. precision: what float32 operands may be rounded to.
        Unsupported where the library cannot, or does not work with this device and driver at all."""
        return Plan(self, gemm, ordinal, precision)


def problem() -> str | None:
    """Why there is no library, and what to do; None where there is one. Never an error: generated kernels compute the same."""
    return _found()[1]


@functools.cache
def _found() -> tuple[Library | None, str | None]:
    refused = ""
    for path in _places():
        try:
            return Library(path), None
        except (OSError, AttributeError) as error:
            if os.path.exists(path):
                refused = f" ({error})"
    return None, f"libcublasLt was not found{refused}: {INSTALL}; until then graphc's own kernels compute products"


def _places() -> Iterator[str]:
    """Where the library may lie: where the loader looks, in NVIDIA's wheels, in a toolkit."""
    spec = importlib.util.find_spec("nvidia")
    wheels = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]
    for major in MAJORS:
        name = f"libcublasLt.so.{major}"
        yield name
        for folder in wheels:
            yield from (str(path) for path in (folder / f"cu{major}" / "lib" / name, folder / "cublas" / "lib" / name) if path.exists())
    for toolkit in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"):
        path = Path(toolkit or "/nowhere", "lib64", "libcublasLt.so")
        if path.exists():
            yield str(path)


# Plans --------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """One of the library's algorithms. waves: how full the device is, by the library's estimate (1.0: exactly)."""

    number: int
    workspace_bytes: int
    waves: float


class Plan:
    """One product, ready to run. `candidates`: the library's algorithms, its best guess first; `chosen`: the number of the one that runs.

    One thread at a time may run a plan: the addresses of bias and aux are part of its descriptor.
    """

    def __init__(self, library: Library, gemm: Gemm, ordinal: int, precision: str) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"the precision of products must be one of {', '.join(PRECISIONS)}; got {precision!r}")
        self.gemm = gemm
        self.library = library
        self._handle = library.handle(ordinal)
        self._owned: list[tuple[str, c_void_p]] = []
        weakref.finalize(self, _destroy, library, self._owned)
        wide = gemm.dtype is dtypes.float64
        compute = _COMPUTE_64 if wide else _COMPUTE[precision if gemm.dtype is dtypes.float32 else "float32"]
        scalar = c_double if wide else c_float
        self._alpha, self._beta = scalar(gemm.alpha), scalar(gemm.beta)
        self._product = self._make("MatmulDesc", compute, _TYPES[dtypes.float64 if wide else dtypes.float32])
        self._describe_product()
        a, b = gemm.a, gemm.b
        self._first = self._layout(gemm.dtype, b, gemm.k, gemm.n)
        self._second = self._layout(gemm.dtype, a, gemm.m, gemm.k)
        self._result = self._layout(gemm.out_dtype, gemm.d, gemm.m, gemm.n)
        # Where C may be the memory of D the library wants one layout for both.
        alike = gemm.c is None or (gemm.c.leading, gemm.c.batch_stride) == (gemm.d.leading, gemm.d.batch_stride)
        self._added = self._result if alike else self._layout(gemm.out_dtype, gemm.c or gemm.d, gemm.m, gemm.n)
        self._algorithms = self._heuristic()
        self.candidates = tuple(Candidate(number, each.workspace_bytes, each.waves) for number, each in enumerate(self._algorithms))
        self.chosen = 0

    @property
    def workspace_bytes(self) -> int:
        """Of the chosen algorithm: device memory that `run` needs, and may share with others on its stream."""
        return self.candidates[self.chosen].workspace_bytes

    @property
    def most_workspace_bytes(self) -> int:
        """Of all candidates."""
        return max(candidate.workspace_bytes for candidate in self.candidates)

    def run(self, stream: int, pointers: Sequence[int], workspace: int) -> None:
        """Puts the product on `stream`, a CUstream. pointers: the device addresses of the kernel's parameters, each a multiple of
        ALIGNMENT; workspace: that of `workspace_bytes` bytes (0 where none are needed), a multiple of 256."""
        for number in range(self.gemm.rounds):
            self._run_round(number, stream, pointers, workspace)

    def _run_round(self, number: int, stream: int, pointers: Sequence[int], workspace: int) -> None:
        gemm = self.gemm

        def address(matrix: Matrix, dtype: DType) -> int:
            return pointers[matrix.parameter] + (matrix.offset + number * matrix.round_stride) * dtype.size

        if gemm.bias is not None:
            self.library.put("MatmulDesc", self._product, _BIAS_POINTER, c_void_p(address(gemm.bias, gemm.out_dtype)))
        if gemm.aux is not None:
            self.library.put("MatmulDesc", self._product, _AUX_POINTER, c_void_p(address(gemm.aux, gemm.out_dtype)))
        added, result = address(gemm.c or gemm.d, gemm.out_dtype), address(gemm.d, gemm.out_dtype)
        self.library.call(
            "Matmul", self._handle, self._product, ctypes.byref(self._alpha), address(gemm.b, gemm.dtype), self._first,
            address(gemm.a, gemm.dtype), self._second, ctypes.byref(self._beta), added, self._added, result, self._result,
            ctypes.byref(self._algorithms[self.chosen]), workspace, self.workspace_bytes, stream)  # fmt: skip

    def _make(self, kind: str, *arguments: Any) -> c_void_p:
        made = self.library.make(kind, *arguments)
        self._owned.append((kind, made))
        return made

    def _describe_product(self) -> None:
        gemm, put = self.gemm, functools.partial(self.library.put, "MatmulDesc", self._product)
        put(_TRANSA, c_int32(gemm.b.transposed))
        put(_TRANSB, c_int32(gemm.a.transposed))
        put(_EPILOGUE, c_uint32(EPILOGUES[gemm.epilogue]))
        # The library reads the alignment of bias and aux off their addresses when it looks for algorithms: these stand for them.
        if gemm.bias is not None:
            put(_BIAS_POINTER, c_void_p(alignment(gemm.bias, gemm.out_dtype)))
        if gemm.aux is not None:
            put(_AUX_POINTER, c_void_p(alignment(gemm.aux, gemm.out_dtype)))
            put(_AUX_LEADING, c_int64(gemm.aux.leading))
            put(_AUX_BATCH_STRIDE, c_int64(gemm.aux.batch_stride))

    def _layout(self, dtype: DType, matrix: Matrix, rows: int, columns: int) -> c_void_p:
        """Of `matrix`, which the product takes as rows x columns of ours: in memory the columns follow each other."""
        if matrix.transposed:
            rows, columns = columns, rows
        layout = self._make("MatrixLayout", _TYPES[dtype], columns, rows, matrix.leading)
        if self.gemm.batch > 1:
            self.library.put("MatrixLayout", layout, _BATCH_COUNT, c_int32(self.gemm.batch))
            self.library.put("MatrixLayout", layout, _BATCH_STRIDE, c_int64(matrix.batch_stride))
        return layout

    def _heuristic(self) -> list[_Algorithm]:
        """The algorithms that the library would take, for addresses no better aligned than ours are."""
        gemm, library = self.gemm, self.library
        preference = self._make("MatmulPreference")
        put = functools.partial(library.put, "MatmulPreference", preference)
        put(_WORKSPACE, c_uint64(WORKSPACE_LIMIT))
        put(_REDUCTIONS, c_uint32(_REDUCE_WIDE))
        for attribute, matrix, dtype in ((_ALIGNMENT_A, gemm.b, gemm.dtype), (_ALIGNMENT_B, gemm.a, gemm.dtype),
                                         (_ALIGNMENT_C, gemm.c or gemm.d, gemm.out_dtype), (_ALIGNMENT_D, gemm.d, gemm.out_dtype)):
            put(attribute, c_uint32(alignment(matrix, dtype)))
        results, count = (_Algorithm * ALGORITHMS)(), c_int()
        try:
            library.call("MatmulAlgoGetHeuristic", self._handle, self._product, self._first, self._second, self._added, self._result,
                         preference, ALGORITHMS, results, ctypes.byref(count))
        except CublasError as error:
            if error.status in (_INVALID_VALUE, _ARCH_MISMATCH, _NOT_SUPPORTED):
                raise Unsupported("cublasLtMatmulAlgoGetHeuristic", error.status) from None
            raise
        found = [each for each in results[:count.value] if each.state == 0]
        if not found:
            raise Unsupported("cublasLtMatmulAlgoGetHeuristic", _NOT_SUPPORTED)
        return found


def alignment(matrix: Matrix, dtype: DType) -> int:
    """Bytes that the addresses of `matrix` are multiples of, as far as is known."""
    return math.gcd(ALIGNMENT, matrix.offset * dtype.size, matrix.round_stride * dtype.size)


def _destroy(library: Library, owned: Sequence[tuple[str, c_void_p]]) -> None:
    for kind, made in owned:
        library.call(f"{kind}Destroy", made)
