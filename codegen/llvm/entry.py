"""The way from Python into a plan: one callable an executable, which takes ndarrays and costs about as much as an empty function.

    run = build(name, objects, params, args, release_gil, target)
    run(feed, ..., output, ...)

`run` fills the plan's array of pointers from the ndarrays' data and calls the plan. It returns None, or the position of the first array
that is not just what the plan was compiled for (an exact ndarray, the dtype's own descriptor, the shape, C-contiguous, aligned, writable
where the plan writes): nothing has run then, and the caller converts or complains. -1 means a wrong number of arrays.

`run` is machine code that CPython calls as it calls its own C functions (METH_FASTCALL); it reads the ndarrays' fields itself, since
asking numpy for one data pointer costs more than the rest. Where those fields lie is checked on import against arrays whose content is
known. Where they lie elsewhere, or with GRAPHC_ENTRY=ctypes, `run` is a Python object that does the same and calls the plan through ctypes.

The array of pointers of a call is on its own stack, so calls may run at once; what they share (arena, variables) is the runtime's care.
"""
from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc.codegen.llvm import cache, jit, plan, pool
from graphc.codegen.llvm.emit import Emitter
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


def build(name: str, objects: Sequence[bytes], params: Sequence[Parameter], args: Args, release_gil: bool, target: Target) -> Run:
    """Links `objects` (the plan's and its kernels') with the pool and an entry for `params`, and gives the callable of the module's text.

    `release_gil`: other Python threads may run meanwhile; worth it for plans above about 10 us. `args` is kept and read at each call.
    Everything that the callable needs lives as long as the callable. CodeError from linking; ValueError for a slot outside `args`.
    """
    for param in params:
        if not 0 <= param.slot < len(args):
            raise ValueError(f"{param} has no place among {len(args)} slots")
    if not native():
        return _CtypesEntry(name, objects, params, args, release_gil)
    text = print_entry(params, len(args), release_gil)
    imports = pool.imports() | _python_symbols() | {"graphc_args": args.address}
    loaded = jit.link(name, [*objects, cache.object_code(text, target)], imports, [SYMBOL])
    return _python_callable(name, loaded, args)


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


# The entry as machine code


def print_entry(params: Sequence[Parameter], slots: int, release_gil: bool) -> str:
    """The LLVM module of an entry: `PyObject *entry(PyObject *self, PyObject *const *arrays, Py_ssize_t count)`.

    Imports: @plan, @graphc_args (the lasting pointers), the CPython functions and the descriptors of `_python_symbols`. Equal parameters
    give equal text, so executables of one signature share the object code.
    """
    e = Emitter(f"define ptr @{SYMBOL}(ptr %self, ptr %arrays, i64 %count)")
    e.module.define("@graphc_args = external global i8\n@graphc_ndarray = external global i8")
    for code in sorted({param.dtype.code for param in params}):
        e.module.define(f"@graphc_descr_{code} = external global i8")
    e.declare(plan.DECLARATION.removeprefix("declare "))
    e.declare("ptr @PyLong_FromLong(i64)")
    e.declare("void @Py_IncRef(ptr)")
    e.do(f"%args = alloca [{max(slots, 1)} x ptr], align 64")
    if slots:
        e.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        e.do(f"call void @llvm.memcpy.p0.p0.i64(ptr align 8 %args, ptr align 8 @graphc_args, i64 {8 * slots}, i1 false)")
    incoming: list[tuple[int, str]] = []
    _refuse_unless(e, e.let(f"icmp eq i64 %count, {len(params)}"), WRONG_COUNT, incoming)
    for at, param in enumerate(params):
        _print_parameter(e, at, param, incoming)
    _print_call(e, release_gil)
    if incoming:
        e.label("refuse")
        where = e.let("phi i64 " + ", ".join(f"[ {value}, %{block} ]" for value, block in incoming))
        e.do(f"ret ptr {e.let(f'call ptr @PyLong_FromLong(i64 {where})')}")
    return e.finish().text()


def _print_parameter(e: Emitter, at: int, param: Parameter, incoming: list[tuple[int, str]]) -> None:
    """Checks array number `at`, field by field, and puts its data pointer into its slot."""
    place = e.let(f"getelementptr ptr, ptr %arrays, i64 {at}")
    array = e.let(f"load ptr, ptr {place}, align 8")

    def field(kind: str, base: str, offset: int) -> str:
        return e.let(f"load {kind}, ptr {e.let(f'getelementptr i8, ptr {base}, i64 {offset}')}, align {4 if kind == 'i32' else 8}")

    def require(condition: str) -> None:
        _refuse_unless(e, e.let(condition), at, incoming)

    require(f"icmp eq ptr {field('ptr', array, _TYPE)}, @graphc_ndarray")
    require(f"icmp eq ptr {field('ptr', array, _DESCR)}, @graphc_descr_{param.dtype.code}")
    require(f"icmp eq i32 {field('i32', array, _RANK)}, {len(param.shape)}")
    flags = _C_CONTIGUOUS | _ALIGNED | (_WRITEABLE if param.writable else 0)
    set_flags = e.let(f"and i32 {field('i32', array, _FLAGS)}, {flags}")
    require(f"icmp eq i32 {set_flags}, {flags}")
    if param.shape:
        dims = field("ptr", array, _DIMS)
        for axis, size in enumerate(param.shape):
            require(f"icmp eq i64 {field('i64', dims, 8 * axis)}, {size}")
    slot = e.let(f"getelementptr ptr, ptr %args, i64 {param.slot}")
    e.do(f"store ptr {field('ptr', array, _DATA)}, ptr {slot}, align 8")


def _refuse_unless(e: Emitter, condition: str, value: int, incoming: list[tuple[int, str]]) -> None:
    """Goes on in a new block if `condition` holds, else leaves with `value`."""
    incoming.append((value, e.block))
    following = e.new_label("ok")
    e.do(f"br i1 {condition}, label %{following}, label %refuse")
    e.label(following)


def _print_call(e: Emitter, release_gil: bool) -> None:
    if release_gil:
        e.declare("ptr @PyEval_SaveThread()")
        e.declare("void @PyEval_RestoreThread(ptr)")
        state = e.let("call ptr @PyEval_SaveThread()")
    e.do(f"call i64 @{plan.SYMBOL}(ptr %args)")
    if release_gil:
        e.do(f"call void @PyEval_RestoreThread(ptr {state})")
    e.module.define("@graphc_none = external global i8")
    e.do("call void @Py_IncRef(ptr @graphc_none)")
    e.do("ret ptr @graphc_none")


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


def _python_callable(name: str, loaded: jit.Loaded, args: Args) -> Run:
    """A builtin function object around the machine code. Its `self` is what must outlive it: CPython drops that last."""
    method = _MethodDef(name.encode(), loaded.address(SYMBOL), _METH_FASTCALL, None)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes, make.restype = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p], ctypes.py_object
    run: Run = make(ctypes.addressof(method), (method, loaded, args), None)
    return run


@functools.cache
def _python_symbols() -> dict[str, int]:
    """Addresses of what an entry uses of CPython and numpy. dtype descriptors are singletons that their DType keeps alive."""
    functions = ("PyLong_FromLong", "Py_IncRef", "PyEval_SaveThread", "PyEval_RestoreThread")
    symbols = {f: _address_of(getattr(ctypes.pythonapi, f)) for f in functions}
    symbols |= {f"graphc_descr_{dtype.code}": id(dtype.np_dtype) for dtype in dtypes.ALL}
    return symbols | {"graphc_none": id(None), "graphc_ndarray": id(np.ndarray)}


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

    def __init__(self, name: str, objects: Sequence[bytes], params: Sequence[Parameter], args: Args, release_gil: bool) -> None:
        self.__name__ = name
        self._params = tuple(params)
        self._args = args
        self._loaded = jit.link(name, objects, pool.imports(), [plan.SYMBOL])
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
