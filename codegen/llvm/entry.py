"""The way from Python into a plan: one callable an executable, which takes ndarrays and costs about as much as an empty function.

    run = build(name, objects, params, args, release_gil, target)
    run(feed, ..., output, ...)

`run` fills the plan's array of pointers from the ndarrays' data and calls the plan. It returns None, or the position of the first array
that is not just what the plan was compiled for (an exact ndarray, the dtype's own descriptor, the shape, C-contiguous, aligned, writable
where the plan writes): nothing has run then, and the caller converts or complains. -1 means a wrong number of arrays.

`run` is machine code, the same for all executables, that CPython calls as it calls its own C functions (METH_FASTCALL). It reads the
ndarrays' fields itself, since asking numpy for one data pointer costs more than the rest. Where those fields lie is checked on import
against arrays whose content is known. Where they lie elsewhere, or with GRAPHC_ENTRY=ctypes, `run` is a Python object that does the same
and calls the plan through ctypes.

The array of pointers of a call is on its own stack, so calls may run at once; what they share (arena, variables) is the runtime's care.
"""
from __future__ import annotations

import ctypes
import functools
import os
import string
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc.codegen.llvm import cache, jit, plan, pool
from graphc.codegen.llvm.target import Target
from graphc.core import dtypes
from graphc.core.dtypes import DType

SYMBOL = "entry"
WRONG_COUNT: Final = -1
_METH_FASTCALL = 0x0080
# numpy's NPY_ARRAY_ flags.
_C_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
# Byte offsets in PyObject and PyArrayObject_fields (numpy/core/include/numpy/ndarraytypes.h) of 64-bit builds; `_layout_holds` checks them.
_TYPE, _DATA, _RANK, _DIMS, _DESCR, _FLAGS = 8, 16, 24, 32, 56, 64

Run = Callable[..., int | None]


@dataclass(frozen=True)
class Parameter:
    """An array that each call brings: its pointer goes to `args[slot]`. `writable` for what the plan writes."""

    slot: int
    dtype: DType
    shape: tuple[int, ...]
    writable: bool = False


class Args:
    """The pointers that a plan gets: those that stay from call to call are set here, those of the parameters come with the call.

    Each call copies them when it begins, so one that is set takes effect with the next call. Keeps alive what it points at.
    """

    def __init__(self, slots: int) -> None:
        self.pointers = np.zeros(slots, np.uintp)
        self.runs = np.zeros((), np.int64)  # calls of the plan; the entry counts them
        self._owners: list[object] = [None] * slots

    def __len__(self) -> int:
        return len(self.pointers)

    @property
    def address(self) -> int:
        """Where the array of pointers is."""
        return int(self.pointers.ctypes.data)

    def set(self, slot: int, array: np.ndarray) -> None:
        """`args[slot]` is from now on where the content of `array` begins. ValueError unless it is C-contiguous."""
        if not array.flags.c_contiguous:
            raise ValueError(f"slot {slot} needs a C-contiguous array; got strides {array.strides} for shape {array.shape}")
        self._owners[slot] = array
        self.pointers[slot] = array.ctypes.data

    def array(self, slot: int) -> object:
        """The array last set at `slot`, or None."""
        return self._owners[slot]


def build(name: str, objects: Sequence[bytes], params: Sequence[Parameter], args: Args, release_gil: bool, target: Target,
          host_functions: dict[str, int] | None = None) -> Run:
    """Links `objects` (the plan's and its kernels') with the pool and an entry for `params`, and gives the callable of the module's text.

    `release_gil`: other Python threads may run meanwhile; worth it for plans above about 10 us. `args` is kept and read at each call.
    Everything that the callable needs lives as long as the callable, but for `host_functions` (symbol -> address of what the plan calls of
    the host): the caller keeps them, and knows what they returned; `run` says nothing of a plan that one of them ended. CodeError from
    linking; ValueError for a slot outside `args`.
    """
    for param in params:
        if not 0 <= param.slot < len(args):
            raise ValueError(f"{param} has no place among {len(args)} slots")
    if not native():
        return _CtypesEntry(name, objects, params, args, release_gil, host_functions or {})
    signature = _signature(params, args, release_gil)
    imports = pool.imports() | _python_symbols() | (host_functions or {}) | _of_call(args, signature)
    loaded = jit.link(name, [*objects, cache.object_code(_TEXT, target)], imports, [SYMBOL])
    return _python_callable(name, loaded, (args, signature))


def _of_call(args: Args, signature: np.ndarray) -> dict[str, int]:
    """Addresses of what the entry of one executable reads and writes."""
    return {"lasting": args.address, "signature": signature.ctypes.data, "runs": args.runs.ctypes.data}


def native() -> bool:
    """Whether entries read ndarrays themselves: they do if the layout is as expected, unless GRAPHC_ENTRY is "ctypes"."""
    wanted = os.environ.get("GRAPHC_ENTRY", "")
    if wanted not in ("", "native", "ctypes"):
        raise ValueError(f"GRAPHC_ENTRY must be native or ctypes; got {wanted!r}")
    return LAYOUT_HOLDS and wanted != "ctypes"


def canonical(array: np.ndarray, dtype: DType) -> np.ndarray:
    """`array` as an entry takes it: an exact ndarray, of the dtype's own descriptor, C-contiguous and aligned.

    Gives `array` itself where it is so already, and copies only for layout. TypeError if the elements are of another type:
    converting values is the caller's choice.
    """
    if array.dtype != dtype.np_dtype:
        raise TypeError(f"an array of {array.dtype} is not one of {dtype.name}")
    plain = np.require(np.asarray(array), dtype.np_dtype, ["C", "A"])
    # Equal dtypes need not be the same object: those of unpickled arrays are not.
    return plain if plain.dtype is dtype.np_dtype else plain.view(dtype.np_dtype)


# The entry as machine code. One text serves all executables, which differ in the numbers of their signature.

_HEADER, _ROW = 3, 5  # int64s in a signature before the first array's row, and in a row


def _signature(params: Sequence[Parameter], args: Args, release_gil: bool) -> np.ndarray:
    """What the machine code must know, as int64: slots, arrays, GIL; a row of five for each array; then the dims of all of them.

    A row: slot, the dtype's descriptor (an address: its DType keeps it alive), flags that must be set, rank, and where the dims begin.
    """
    rows: list[int] = []
    dims: list[int] = []
    for param in params:
        flags = _C_CONTIGUOUS | _ALIGNED | (_WRITEABLE if param.writable else 0)
        rows += [param.slot, id(param.dtype.np_dtype), flags, len(param.shape), _HEADER + _ROW * len(params) + len(dims)]
        dims += param.shape
    return np.array([len(args), len(params), release_gil, *rows, *dims], np.int64)


_TEXT = string.Template("""\
@signature = external global [0 x i64] ; see `_signature`
@lasting = external global [0 x ptr]   ; the pointers of `Args`
@ndarray = external global i8          ; type object
@none = external global i8
@runs = external global i64            ; `Args.runs`; this thread has the GIL where it counts

declare i64 @plan(ptr)
declare ptr @PyLong_FromLong(i64)
declare void @Py_IncRef(ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; PyObject *entry(PyObject *self, PyObject *const *arrays, Py_ssize_t count)
define ptr @entry(ptr %self, ptr %arrays, i64 %count) {
entry:
  %slots = load i64, ptr @signature, align 8
  %wanted.at = getelementptr i64, ptr @signature, i64 1
  %wanted = load i64, ptr %wanted.at, align 8
  %counted = icmp eq i64 %count, %wanted
  br i1 %counted, label %copy, label %refuse
copy:
  %args = alloca ptr, i64 %slots, align 16
  %bytes = shl i64 %slots, 3
  call void @llvm.memcpy.p0.p0.i64(ptr align 16 %args, ptr align 8 @lasting, i64 %bytes, i1 false)
  br label %next
next:
  %number = phi i64 [ 0, %copy ], [ %following, %store ]
  %row.number = mul i64 %number, $row
  %row.index = add i64 %row.number, $header
  %row = getelementptr i64, ptr @signature, i64 %row.index
  %checked = icmp eq i64 %number, %count
  br i1 %checked, label %run, label %type
type:
  %array.at = getelementptr ptr, ptr %arrays, i64 %number
  %array = load ptr, ptr %array.at, align 8
  %type.at = getelementptr i8, ptr %array, i64 $type
  %type.is = load ptr, ptr %type.at, align 8
  %type.fits = icmp eq ptr %type.is, @ndarray
  br i1 %type.fits, label %fields, label %refuse
fields:
  %descr.wanted.at = getelementptr i64, ptr %row, i64 1
  %descr.wanted = load ptr, ptr %descr.wanted.at, align 8
  %descr.at = getelementptr i8, ptr %array, i64 $descr
  %descr = load ptr, ptr %descr.at, align 8
  %descr.fits = icmp eq ptr %descr, %descr.wanted
  %flags.wanted.at = getelementptr i64, ptr %row, i64 2
  %flags.wanted = load i32, ptr %flags.wanted.at, align 8
  %flags.at = getelementptr i8, ptr %array, i64 $flags
  %flags = load i32, ptr %flags.at, align 4
  %flags.set = and i32 %flags, %flags.wanted
  %flags.fit = icmp eq i32 %flags.set, %flags.wanted
  %rank.wanted.at = getelementptr i64, ptr %row, i64 3
  %rank.wanted = load i64, ptr %rank.wanted.at, align 8
  %rank.at = getelementptr i8, ptr %array, i64 $rank
  %rank.short = load i32, ptr %rank.at, align 4
  %rank = zext i32 %rank.short to i64
  %rank.fits = icmp eq i64 %rank, %rank.wanted
  %two.fit = and i1 %descr.fits, %flags.fit
  %three.fit = and i1 %two.fit, %rank.fits
  br i1 %three.fit, label %shape, label %refuse
shape:
  %dims.at = getelementptr i8, ptr %array, i64 $dims
  %dims = load ptr, ptr %dims.at, align 8
  %dims.index.at = getelementptr i64, ptr %row, i64 4
  %dims.index = load i64, ptr %dims.index.at, align 8
  %dims.wanted = getelementptr i64, ptr @signature, i64 %dims.index
  br label %axis
axis:
  %at = phi i64 [ 0, %shape ], [ %at.next, %dim ]
  %measured = icmp eq i64 %at, %rank
  br i1 %measured, label %store, label %dim
dim:
  %dim.at = getelementptr i64, ptr %dims, i64 %at
  %size = load i64, ptr %dim.at, align 8
  %dim.wanted.at = getelementptr i64, ptr %dims.wanted, i64 %at
  %size.wanted = load i64, ptr %dim.wanted.at, align 8
  %at.next = add i64 %at, 1
  %size.fits = icmp eq i64 %size, %size.wanted
  br i1 %size.fits, label %axis, label %refuse
store:
  %data.at = getelementptr i8, ptr %array, i64 $data
  %data = load ptr, ptr %data.at, align 8
  %slot = load i64, ptr %row, align 8
  %arg = getelementptr ptr, ptr %args, i64 %slot
  store ptr %data, ptr %arg, align 8
  %following = add i64 %number, 1
  br label %next
run:
  %runs = load i64, ptr @runs, align 8
  %runs.now = add i64 %runs, 1
  store i64 %runs.now, ptr @runs, align 8
  %release.at = getelementptr i64, ptr @signature, i64 2
  %release = load i64, ptr %release.at, align 8
  %keep = icmp eq i64 %release, 0
  br i1 %keep, label %short, label %long
short:
  call i64 @plan(ptr %args)
  br label %done
long:
  %state = call ptr @PyEval_SaveThread()
  call i64 @plan(ptr %args)
  call void @PyEval_RestoreThread(ptr %state)
  br label %done
done:
  call void @Py_IncRef(ptr @none)
  ret ptr @none
refuse:
  %where = phi i64 [ $wrong_count, %entry ], [ %number, %type ], [ %number, %fields ], [ %number, %dim ]
  %answer = call ptr @PyLong_FromLong(i64 %where)
  ret ptr %answer
}
""").substitute(
    type=_TYPE, data=_DATA, rank=_RANK, dims=_DIMS, descr=_DESCR, flags=_FLAGS, header=_HEADER, row=_ROW, wrong_count=WRONG_COUNT,
)


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


def _python_callable(name: str, loaded: jit.Loaded, needs: tuple[object, ...]) -> Run:
    """A builtin function object around the machine code. Its `self` is what must outlive it: CPython drops that last."""
    method = _MethodDef(name.encode(), loaded.address(SYMBOL), _METH_FASTCALL, None)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes, make.restype = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p], ctypes.py_object
    run: Run = make(ctypes.addressof(method), (method, loaded, needs), None)
    return run


@functools.cache
def _python_symbols() -> dict[str, int]:
    """Addresses of what an entry uses of CPython and numpy."""
    functions = ("PyLong_FromLong", "Py_IncRef", "PyEval_SaveThread", "PyEval_RestoreThread")
    return {f: _address_of(getattr(ctypes.pythonapi, f)) for f in functions} | {"none": id(None), "ndarray": id(np.ndarray)}


def _address_of(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def _layout_holds() -> bool:
    """Whether ndarrays keep their fields where `print_entry` looks, judged by arrays of known content."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8 or np.ndarray.__basicsize__ < _FLAGS + 4:
        return False
    if object.__basicsize__ != 16:  # a free-threaded or debugging interpreter
        return False
    frozen = np.zeros((3, 5, 7), np.int16)
    frozen.flags.writeable = False
    return all(_fields_agree(a) for a in (
        np.zeros((2, 3, 4), np.float32), np.zeros((), np.float64), np.zeros((4, 6), np.int64)[::2, 1:], np.zeros((0, 9), np.bool_),
        np.zeros((1,), dtypes.bfloat16.np_dtype), np.zeros(17, np.uint8)[1:].view(np.float64), frozen, np.zeros((11, 13), order="F"),
    ))


def _fields_agree(a: np.ndarray) -> bool:
    def word(at: int) -> int:
        return ctypes.c_uint64.from_address(at).value

    flags = ctypes.c_int.from_address(id(a) + _FLAGS).value
    known = [(_C_CONTIGUOUS, a.flags.c_contiguous), (_ALIGNED, a.flags.aligned), (_WRITEABLE, a.flags.writeable)]
    return (
        word(id(a) + _TYPE) == id(np.ndarray)
        and word(id(a) + _DATA) == a.ctypes.data
        and ctypes.c_int.from_address(id(a) + _RANK).value == a.ndim
        and word(id(a) + _DESCR) == id(a.dtype)
        and all(bool(flags & bit) == truth for bit, truth in known)
        and all(word(word(id(a) + _DIMS) + 8 * axis) == size for axis, size in enumerate(a.shape))
    )


LAYOUT_HOLDS: Final = _layout_holds()


# The same in Python


class _CtypesEntry:
    """What a native entry does, on any interpreter: the checks in Python, the plan called through ctypes."""

    def __init__(self, name: str, objects: Sequence[bytes], params: Sequence[Parameter], args: Args, release_gil: bool,
                 host_functions: dict[str, int]) -> None:
        self.__name__ = name
        self._params = tuple(params)
        self._args = args
        self._loaded = jit.link(name, objects, pool.imports() | host_functions, [plan.SYMBOL])
        prototype = (ctypes.CFUNCTYPE if release_gil else ctypes.PYFUNCTYPE)(ctypes.c_int64, ctypes.c_void_p)
        self._plan = prototype(self._loaded.address(plan.SYMBOL))

    def __call__(self, *arrays: np.ndarray) -> int | None:
        if len(arrays) != len(self._params):
            return WRONG_COUNT
        pointers = self._args.pointers.copy()
        for at, (param, array) in enumerate(zip(self._params, arrays, strict=True)):
            if not _fits(param, array):
                return at
            pointers[param.slot] = array.ctypes.data
        self._args.runs += 1
        self._plan(pointers.ctypes.data)
        return None


def _fits(param: Parameter, array: object) -> bool:
    return (
        type(array) is np.ndarray
        and array.dtype is param.dtype.np_dtype
        and array.shape == param.shape
        and array.flags.c_contiguous
        and array.flags.aligned
        and (array.flags.writeable or not param.writable)
    )
