"""Which way a product runs: one of cublasLt's algorithms or graphc's own kernel, by measurement. Between `cublaslt.Plan` and the runtime.

The library's guess is good, not always best. So when a product is first met on a machine, its candidates are timed there, and the winner is
kept beside the compiled code (codegen/cache.py), for the device, the driver, the library, the product and the generated kernel that it was
measured with. From then on the same is run in every process, so that results do not change from run to run. Where nothing can be kept
(GRAPHC_CACHE=0), or GRAPHC_CUDA_TUNE=0, the library's first algorithm runs unmeasured.
"""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from graphc.codegen.cache import ObjectCache, default
from graphc.codegen.cuda.gemm import Gemm, Matrix
from graphc.core.dtypes import DType
from graphc.runtime.cuda.cublaslt import CublasError, Plan, alignment

GENERATED = "generated"
ROUNDS = 5  # each candidate is timed so often, in turns, so that a slow moment of the machine hits all; its shortest time counts
HOPELESS = 1.5  # times the best of a round: such candidates are not timed again
CLEARLY = 0.97  # of an earlier candidate's time: what a later one must reach to be preferred to it
_FORMAT = "graphc product choice 1"  # part of every key: raise it when what is stored or how it is measured changes

Run = Callable[[], object]
Timer = Callable[[Run], float]


@dataclass(frozen=True)
class Machine:
    """What measured times depend on besides the product. device: its name; driver: its version; library: `Library.version`."""

    device: str
    driver: str
    library: int


@dataclass(frozen=True)
class Choice:
    """name: GENERATED, or "cublasLt 0" for the library's first algorithm. milliseconds: what each candidate took; empty where nothing was
    measured. origin: "measured", "from disk", "from memory", or "the library's guess"."""

    name: str
    milliseconds: Mapping[str, float]
    origin: str

    @property
    def is_library(self) -> bool:
        return self.name != GENERATED


def choose(plan: Plan, machine: Machine, precision: str, symbol: str, library: Run, generated: Run | None, time_ms: Timer) -> Choice:
    """Chooses how the product of `plan` runs, and sets `plan.chosen`.

    precision: that of `plan`. symbol: the generated kernel, by a name that changes with its code. library, generated: put the product on a
    stream, over scratch memory, since they run many times: `plan.run` with room for `plan.most_workspace_bytes`, and the launch of graphc's
    kernel (None where it has no code). time_ms: how long a run takes on the device, in milliseconds. None of the three is called where the
    choice is known.
    """
    candidates = {f"cublasLt {candidate.number}": _with_algorithm(plan, candidate.number, library) for candidate in plan.candidates}
    first = next(iter(candidates))
    cache = default(ObjectCache)
    if os.environ.get("GRAPHC_CUDA_TUNE") == "0" or cache.folder is None:
        choice = Choice(first, {}, "the library's guess")
    else:
        if generated is not None:
            candidates[GENERATED] = generated
        parts = (_FORMAT, machine.device, machine.driver, str(machine.library), text_of(plan.gemm), precision, symbol)
        choice = _remembered(cache, parts, candidates, time_ms)
    plan.chosen = int(choice.name.removeprefix("cublasLt ")) if choice.is_library else 0
    return choice


def _with_algorithm(plan: Plan, number: int, library: Run) -> Run:
    def run() -> None:
        plan.chosen = number
        library()

    return run


def _remembered(cache: ObjectCache, parts: tuple[str, ...], candidates: Mapping[str, Run], time_ms: Timer) -> Choice:
    """The choice that is stored for `parts`, measured where there is none. The candidates are part of the key as well."""
    def make() -> bytes:
        times = measure(candidates, time_ms)
        return json.dumps({"chosen": fastest(times), "milliseconds": times, "product": parts[4]}).encode()

    data, origin = cache.get((*parts, *candidates), ".choice", make)
    stored = json.loads(data)
    return Choice(stored["chosen"], stored["milliseconds"], "measured" if origin == "compiled" else origin)


def measure(candidates: Mapping[str, Run], time_ms: Timer) -> dict[str, float]:
    """The shortest time of each candidate, in milliseconds. One that the library refuses after all has none; the last error is raised where
    it refuses all."""
    times: dict[str, float] = {}
    refused: CublasError | None = None
    for name, run in candidates.items():
        try:
            time_ms(run)  # loads the code, and warms up
            times[name] = time_ms(run)
        except CublasError as error:
            refused = error
    if not times and refused is not None:
        raise refused
    for _ in range(ROUNDS - 1):
        best = min(times.values())
        for name in times:
            if times[name] <= HOPELESS * best:
                times[name] = min(times[name], time_ms(candidates[name]))
    return times


def fastest(times: Mapping[str, float]) -> str:
    """The first candidate that no later one clearly beats."""
    names = iter(times)
    best = next(names)
    for name in names:
        if times[name] < CLEARLY * times[best]:
            best = name
    return best


def text_of(gemm: Gemm) -> str:
    """All of `gemm` that its speed depends on: sizes, types, where matrices lie, how well they are aligned, what is fused."""
    sizes = f"{gemm.m}x{gemm.n}x{gemm.k} x {gemm.batch} x {gemm.rounds}, {gemm.dtype.code} to {gemm.out_dtype.code}, {gemm.epilogue}"
    read = {"a": gemm.a, "b": gemm.b}
    others = {"c": gemm.c, "d": gemm.d, "bias": gemm.bias, "aux": gemm.aux}
    texts = [f"{name} {_text(matrix, gemm.dtype)}" for name, matrix in read.items()]
    texts += [f"{name} {_text(matrix, gemm.out_dtype)}" for name, matrix in others.items() if matrix is not None]
    return ", ".join([sizes, *texts])


def _text(matrix: Matrix, dtype: DType) -> str:
    turned = " transposed" if matrix.transposed else ""
    return f"{matrix.leading}+{matrix.batch_stride}+{matrix.round_stride}{turned} at {alignment(matrix, dtype)}"
