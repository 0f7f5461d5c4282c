"""Compiles one scalar operation of `graphc.codegen.llvm.arith` into a loop over arrays, for the tests of its results."""
from __future__ import annotations

import ctypes
import functools
import itertools
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.codegen.llvm import types
from graphc.codegen.llvm.arith import emit_op
from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.target import Target
from graphc.core.dtypes import DType

_names = (f"elementwise{i}" for i in itertools.count())


@functools.cache
def _compiler(target: Target) -> Any:
    return llvm.create_lljit_compiler(target.target_machine())


def loop_text(target: Target, op: str, dtype: DType, lanes: int, arg_dtypes: tuple[DType, ...]) -> str:
    """`void run(i64 n, out, args...)`: out[i] = op(args[i]...) for i < n, n a multiple of `lanes`."""
    names = [f"%arg{i}" for i in range(len(arg_dtypes))]
    e = Emitter(f"define void @run(i64 %n, ptr %out, {', '.join(f'ptr {name}' for name in names)})")
    e.do("br label %loop")
    e.label("loop")
    e.do("%i = phi i64 [ 0, %entry ], [ %next, %latch ]")
    args = []
    for name, arg in zip(names, arg_dtypes, strict=True):
        address = e.let(f"getelementptr {types.mem_type(arg)}, ptr {name}, i64 %i")
        loaded = e.let(f"load {types.mem_type(arg, lanes)}, ptr {address}, align {arg.size}")
        args.append(types.to_register(e, target, loaded, arg, lanes))
    value = types.to_memory(e, target, emit_op(e, target, op, dtype, lanes, args, arg_dtypes), dtype, lanes)
    address = e.let(f"getelementptr {types.mem_type(dtype)}, ptr %out, i64 %i")
    e.do(f"store {types.mem_type(dtype, lanes)} {value}, ptr {address}, align {dtype.size}")
    e.do("br label %latch")  # the operation may have opened blocks: the loop's end gets a name of its own
    e.label("latch")
    e.do(f"%next = add i64 %i, {lanes}")
    e.do(f"br i1 {e.let('icmp ult i64 %next, %n')}, label %loop, label %done")
    e.label("done")
    e.do("ret void")
    return e.finish().text()


@functools.cache
def _compile(target: Target, op: str, dtype: DType, lanes: int, arg_dtypes: tuple[DType, ...]) -> tuple[Any, Any]:
    module = llvm.parse_assembly(loop_text(target, op, dtype, lanes, arg_dtypes))
    module.verify()
    image = target.target_machine().emit_object(module)
    builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process().export_symbol("run")
    library = builder.link(_compiler(target), next(_names))
    return library, ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (2 + len(arg_dtypes)))(library["run"])


def run(target: Target, op: str, dtype: DType, lanes: int, *arrays: np.ndarray, arg_dtypes: tuple[DType, ...]) -> np.ndarray:
    """`op` of whole arrays (of any equal length), computed `lanes` elements at a time."""
    _, function = _compile(target, op, dtype, lanes, arg_dtypes)
    size = len(arrays[0])
    padded = max(1, -(-size // lanes)) * lanes
    inputs = []
    for array, arg in zip(arrays, arg_dtypes, strict=True):
        buffer = np.zeros(padded, arg.np_dtype)
        buffer[:size] = array
        inputs.append(buffer)
    out = np.empty(padded, dtype.np_dtype)
    function(padded, out.ctypes.data, *[buffer.ctypes.data for buffer in inputs])
    return out[:size]
