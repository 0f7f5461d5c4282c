"""What machine the code is for: the one place that knows its vector width and instruction sets.

A `Target` is one of three widths on the host: 512 bits (AVX-512), 256 (AVX2 with FMA and F16C) and 128 (the baseline of any machine: SSE2
on x86). `host()` is the widest the host really has; `with_vector_bits` gives the narrower paths of the same machine, which are what an
older machine would get, so that one machine can test all three.
"""
from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm

from graphc.core.dtypes import DType

VECTOR_BITS = (512, 256, 128)
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
_AVX2 = frozenset({"avx", "avx2", "f16c", "fma"})
_REQUIRED = {512: _AVX512 | _AVX2, 256: _AVX2, 128: frozenset[str]()}
_BASELINE = frozenset({"64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2"})  # what "x86-64" means
_NARROW_CPU = {256: "x86-64-v3", 128: "x86-64"}


@dataclass(frozen=True)
class Target:
    """One way to use a machine: `features` and `cpu` as LLVM spells them, explicit vectors of `vector_bits`."""

    name: str
    vector_bits: int
    features: str
    cpu: str

    @property
    def is_x86(self) -> bool:
        return self.name.startswith("x86_64")

    @property
    def has_fma(self) -> bool:
        """Whether `llvm.fma` is one instruction (without it, it is a slow libm call: callers then multiply and add)."""
        return self.has("fma") or self.name.startswith("aarch64")

    def has(self, feature: str) -> bool:
        """Whether LLVM's feature `feature` ("avx512f") is on."""
        return feature in _enabled(self.features)

    @property
    def chains(self) -> int:
        """How many long computations run side by side with their values in registers: 32 registers hold four, 16 two."""
        return 4 if self.vector_bits == 512 or not self.is_x86 else 2

    def lanes(self, dtype: DType) -> int:
        """Elements of `dtype` in one vector register. The half types count as float32, as which they are computed; bool as a byte."""
        return self.vector_bits // (8 * (4 if dtype.is_floating and dtype.size < 4 else dtype.size))

    def with_vector_bits(self, bits: int) -> Target:
        """This machine used as if it had vectors of `bits` only, with the instructions of that generation; ValueError if it is wider."""
        if bits not in VECTOR_BITS:
            raise ValueError(f"vector bits must be one of {', '.join(map(str, VECTOR_BITS))}; got {bits}")
        if bits > self.vector_bits:
            raise ValueError(f"{self.name} has vectors of {self.vector_bits} bits; {bits} were asked for")
        if bits == self.vector_bits:
            return self
        features = self.features
        if self.is_x86:
            keep = _BASELINE if bits == 128 else None
            features = ",".join(f if _kept(f, keep) else f"-{f[1:]}" for f in self.features.split(","))
        return Target(f"{self.name.rsplit('-', 1)[0]}-{bits}", bits, features, _NARROW_CPU[bits] if self.is_x86 else self.cpu)

    def target_machine(self) -> Any:
        """LLVM's TargetMachine for this target, made once per process. LLJIT may share it (MCJIT would free it)."""
        return _target_machine(self)


def host() -> Target:
    """The widest target this machine can run, or the width that the environment's GRAPHC_VECTOR_BITS asks for, where it is narrower."""
    widest = _host()
    wanted = os.environ.get("GRAPHC_VECTOR_BITS")
    if not wanted:
        return widest
    if not wanted.isdigit() or int(wanted) not in VECTOR_BITS:
        raise ValueError(f"GRAPHC_VECTOR_BITS must be one of {', '.join(map(str, VECTOR_BITS))}; got {wanted!r}")
    return widest.with_vector_bits(min(int(wanted), widest.vector_bits))


def available() -> tuple[Target, ...]:
    """Every target this machine can run, widest first."""
    widest = _host()
    return tuple(widest.with_vector_bits(bits) for bits in VECTOR_BITS if bits <= widest.vector_bits)


@functools.cache
def _host() -> Target:
    _initialise()
    arch = llvm.get_process_triple().split("-")[0]
    # The features, not the CPU's name, say what the machine can do: a hypervisor may hide some of them.
    features = llvm.get_host_cpu_features()
    present = {name for name, on in features.items() if on}
    bits = next(bits for bits in VECTOR_BITS if _REQUIRED[bits] <= present) if arch == "x86_64" else 128
    return Target(f"{arch}-{bits}", bits, features.flatten(), llvm.get_host_cpu_name())


@functools.cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def _target_machine(target: Target) -> Any:
    _initialise()
    triple = llvm.Target.from_triple(llvm.get_process_triple())
    return triple.create_target_machine(cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small")


@functools.cache
def _enabled(features: str) -> frozenset[str]:
    return frozenset(feature[1:] for feature in features.split(",") if feature.startswith("+"))


def _kept(feature: str, keep: frozenset[str] | None) -> bool:
    """Whether "+name" or "-name" stays as it is on a narrower target: only names in `keep`, or all that need no 512-bit registers."""
    name = feature[1:]
    return name in keep if keep is not None else not name.startswith(("avx512", "avx10", "amx"))
