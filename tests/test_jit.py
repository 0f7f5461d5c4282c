"""LLVM text to callable addresses: results, errors in words, and code that lives exactly as long as it is needed."""
from __future__ import annotations

import ctypes
import gc
import math
import os
import threading

import pytest

from graphc.codegen.llvm import jit, target

TWICE = "define double @twice(double %x) {\n  %y = fadd double %x, %x\n  ret double %y\n}\n"


def compiled(text: str) -> bytes:
    return jit.compile_module(text, target.host())


def test_a_function_computes() -> None:
    twice = jit.link("t", [compiled(TWICE)], {}, ["twice"]).function("twice", ctypes.c_double, ctypes.c_double)
    assert twice(21.5) == 43.0
    assert math.isnan(twice(math.nan))
    assert twice(math.inf) == math.inf


@pytest.mark.parametrize("which", target.available(), ids=lambda t: t.name)
def test_every_width_of_the_host_compiles_and_runs(which: target.Target) -> None:
    loaded = jit.link("t", [jit.compile_module(TWICE, which)], {}, ["twice"])
    assert loaded.function("twice", ctypes.c_double, ctypes.c_double)(-0.25) == -0.5


def test_objects_see_each_other_the_imports_and_the_process() -> None:
    four = "declare double @twice(double)\ndefine double @four(double %x) {\n  %y = call double @twice(double %x)\n" \
           "  %z = call double @twice(double %y)\n  ret double %z\n}\n"
    outer = "declare double @four(double)\ndeclare double @sqrt(double)\n@where = external global double\n" \
            "define double @outer() {\n  %x = load double, ptr @where\n  %y = call double @sqrt(double %x)\n" \
            "  %z = call double @four(double %y)\n  ret double %z\n}\n"
    cell = ctypes.c_double(9.0)
    loaded = jit.link("t", [compiled(t) for t in (TWICE, four, outer)], {"where": ctypes.addressof(cell)}, ["outer", "four"])
    assert loaded.function("outer", ctypes.c_double)() == 12.0
    cell.value = 16.0
    assert loaded.function("outer", ctypes.c_double)() == 16.0
    assert loaded.function("four", ctypes.c_double, ctypes.c_double)(1.5) == 6.0


def test_libraries_of_one_name_are_separate() -> None:
    answers = [f"define i32 @answer() {{\n  ret i32 {n}\n}}\n" for n in (1, 2)]
    functions = [jit.link("same", [compiled(t)], {}, ["answer"]).function("answer", ctypes.c_int) for t in answers]
    assert [f() for f in functions] == [1, 2]


def test_a_function_pointer_keeps_its_code_alive() -> None:
    twice = jit.link("t", [compiled(TWICE)], {}, ["twice"]).function("twice", ctypes.c_double, ctypes.c_double)
    gc.collect()
    for _ in range(20):  # would reuse the memory if the code had been dropped
        jit.link("filler", [compiled("define i32 @f() {\n  ret i32 7\n}\n")], {}, ["f"])
    gc.collect()
    assert twice(2.0) == 4.0


def test_dropped_code_gives_its_memory_back() -> None:
    data = compiled("@big = global [4194304 x i8] zeroinitializer\ndefine ptr @f() {\n  ret ptr @big\n}\n")

    def mapped() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")

    jit.link("warm", [data], {}, ["f"])
    gc.collect()
    before = mapped()
    for _ in range(32):
        jit.link("dropped", [data], {}, ["f"])
    gc.collect()
    assert mapped() - before < 64 << 20  # 32 of them are 128 MiB


def test_text_that_does_not_parse_is_shown() -> None:
    with pytest.raises(jit.CodeError) as info:
        compiled("define i32 @f() {\n  %x = add i32 1, 2\n  %y = ad i32 1, 2\n  ret i32 %x\n}\n")
    message = str(info.value)
    assert "does not parse" in message
    assert "expected instruction opcode" in message
    assert ">    3 |   %y = ad i32 1, 2" in message


def test_text_that_does_not_verify_never_reaches_the_code_generator() -> None:
    with pytest.raises(jit.CodeError) as info:
        compiled("define i32 @f(i1 %c) {\nentry:\n  br i1 %c, label %a, label %b\na:\n  %x = add i32 1, 2\n  br label %b\nb:\n"
                 "  ret i32 %x\n}\n")
    message = str(info.value)
    assert "does not verify" in message
    assert "dominate" in message
    assert ">    5 |   %x = add i32 1, 2" in message


def test_a_missing_symbol_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    text = "declare void @graphc_no_such_symbol()\ndefine void @f() {\n  call void @graphc_no_such_symbol()\n  ret void\n}\n"
    with pytest.raises(jit.CodeError, match="could not link lonely"):
        jit.link("lonely", [compiled(text)], {}, ["f"])
    assert "graphc_no_such_symbol" in capfd.readouterr().err
    test_a_function_computes()  # and the next link works


def test_a_missing_export() -> None:
    with pytest.raises(jit.CodeError, match="could not link t"):
        jit.link("t", [compiled(TWICE)], {}, ["thrice"])


def test_bytes_that_are_no_object_are_refused() -> None:
    with pytest.raises(jit.CodeError, match="could not link"):
        jit.link("t", [b"certainly not an object file"], {}, ["f"])
    test_a_function_computes()


def test_an_address_that_was_not_exported() -> None:
    with pytest.raises(KeyError):
        jit.link("t", [compiled(TWICE)], {}, []).address("twice")


def test_threads_compile_and_fork_at_once() -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(n: int) -> None:
        at = 0
        while not stop.is_set():
            at += 1
            text = f"define i32 @f() {{\n  ret i32 {1000 * n + at}\n}}\n"
            if jit.link("t", [compiled(text)], {}, ["f"]).function("f", ctypes.c_int)() != 1000 * n + at:
                failures.append(AssertionError(text))

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(0 if _answer_in_child() == 5 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures


def _answer_in_child() -> int:
    text = "define i32 @five() {\n  ret i32 5\n}\n"
    return int(jit.link("t", [compiled(text)], {}, ["five"]).function("five", ctypes.c_int)())
