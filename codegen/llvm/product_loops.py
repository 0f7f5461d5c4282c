"""The few lines of control flow that the functions of a matrix product are made of."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphc.codegen.llvm.emit import Emitter


@contextmanager
def counted(e: Emitter, start: str, stop: str, step: int = 1) -> Iterator[str]:
    """A loop from `start` to `stop` (i64 registers or decimals) that runs at least once; gives the register of its counter.

    One that is known to run once is no loop: each costs the compiler more than what is inside it.
    """
    if start.isdecimal() and stop.isdecimal() and int(stop) - int(start) <= step:
        yield start
        return
    head, latch, done = e.new_label("head"), e.new_label("latch"), e.new_label("done")
    counter, following = e.new_value(), e.new_value()
    before = e.block
    e.do(f"br label %{head}")
    e.label(head)
    e.do(f"{counter} = phi i64 [ {start}, %{before} ], [ {following}, %{latch} ]")
    yield counter
    e.do(f"br label %{latch}")
    e.label(latch)
    e.do(f"{following} = add nuw nsw i64 {counter}, {step}")
    e.do(f"br i1 {e.let(f'icmp ult i64 {following}, {stop}')}, label %{head}, label %{done}")
    e.label(done)


@contextmanager
def only_if(e: Emitter, condition: str) -> Iterator[None]:
    """What is written inside runs only where the i1 `condition` holds."""
    then, after = e.new_label("then"), e.new_label("after")
    e.do(f"br i1 {condition}, label %{then}, label %{after}")
    e.label(then)
    yield
    e.do(f"br label %{after}")
    e.label(after)


def times(e: Emitter, register: str, factor: int) -> str:
    """`register * factor`, an i64."""
    if factor == 1 or register == "0":
        return register
    return e.let(f"mul i64 {register}, {factor}")


def plus(e: Emitter, a: str, b: str) -> str:
    """`a + b`, an i64."""
    if "0" in (a, b):
        return b if a == "0" else a
    return e.let(f"add i64 {a}, {b}")


def least(e: Emitter, a: str, b: str) -> str:
    """The lesser of two unsigned i64."""
    e.declare("i64 @llvm.umin.i64(i64, i64)")
    return e.let(f"call i64 @llvm.umin.i64(i64 {a}, i64 {b})")


def byte_offset(e: Emitter, pointer: str, offset: int | str) -> str:
    """The address `offset` bytes on."""
    if str(offset) == "0":
        return pointer
    return e.let(f"getelementptr i8, ptr {pointer}, i64 {offset}")
