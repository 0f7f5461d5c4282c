"""`ConfigProto`: the options of a session, under TF1's names, and what TF1 programs set that a compiler has no use for."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from graphc.core.scopes import DeviceSpec
from graphc.passes.pipelines import PIPELINES, Pipeline

__all__ = ["PIPELINES", "ConfigProto", "GPUOptions", "Pipeline", "Settings"]

PRODUCTS = ("auto", "cublaslt", "generated")
ALL, NAN = "all", "nan"  # what `check_numerics` may forbid
PRECISIONS = ("float32", "tfloat32", "bfloat16", "float16")


@dataclass(slots=True)
class GPUOptions:
    """How a session uses the GPUs; without effect on a CPU.

    per_process_gpu_memory_fraction: the part of a GPU's memory, from 0 to 1, that the session's arena and variables may take there; 0 sets
    no limit but the memory itself. What does not fit is refused before anything runs. allow_growth: True or False, memory is only taken
    when a computation needs it; TF1's other way, to take all at once, helps nobody here. visible_device_list: which GPUs there are for the
    session and in which order, as in TF1: with "1,0" the machine's second GPU is "/gpu:0"; "" takes all. allocator_type is TF1's, without
    effect.
    """

    allow_growth: bool = False
    per_process_gpu_memory_fraction: float = 0.0
    visible_device_list: str = ""
    allocator_type: str = ""


@dataclass(frozen=True)
class Settings:
    """What a `ConfigProto` says, checked.

    pipeline, threads: how programs are compiled. device: where operations go that do not say; None: the CPU. soft, log: TF1's
    allow_soft_placement and log_device_placement. cpus, gpus: how many devices of each kind there may be, None: all of them.
    visible_gpus: the machine's numbers of the GPUs to use, in order; None: all. memory_fraction: 0 for no limit. products,
    products_precision: who computes matrix products on a GPU, and to what their operands are rounded. checked: whether indices and the like
    are checked. check_numerics: what a run may not give: "all" that is not finite, "nan" alone, or "" for anything goes. verify:
    whether what is compiled is compared with the reference; None: as the environment says when it is.
    """

    pipeline: Pipeline
    threads: int
    device: DeviceSpec | None = None
    soft: bool = False
    log: bool = False
    cpus: int = 1
    gpus: int | None = None
    visible_gpus: tuple[int, ...] | None = None
    memory_fraction: float = 0.0
    products: str = "auto"
    products_precision: str = "float32"
    checked: bool = False
    check_numerics: str = ""
    verify: bool | None = None


@dataclass(slots=True)
class ConfigProto:
    """How a session compiles and runs. Read when the session is made; TypeError or ValueError there for a value that is none.

    pipeline: "default", "unfused", "none", or a `Pipeline` (`graphc.passes` says how one takes passes of one's own).
    intra_op_parallelism_threads: threads that one kernel may use (0: one per processor that this process may run on); results do not
    depend on it.
    device: where operations go that are in no device scope: "cpu", "gpu", "/gpu:1"...; None: the CPU. allow_soft_placement: what asks for a
    device that there is none of goes to the CPU, instead of being an error. log_device_placement: one line for each operation on stderr.
    device_count: at most so many devices of a kind: {"CPU": 2} makes two CPUs to place operations on, {"GPU": 0} hides the GPUs.
    products: on a GPU matrix products are computed by "cublaslt", by "generated" kernels, or ("auto") by cublasLt where it is installed.
    products_precision: to what float32 operands of products are rounded there: "float32" (not at all), "tfloat32", "bfloat16", "float16";
    sums are float32. checked: an index, label or segment id out of range and an integer division by zero are errors that name it, instead
    of having a defined result (docs/stages.md); None: as GRAPHC_CHECKED in the environment says. check_numerics: a run whose results or
    written variables have NaN or infinities ("nan": NaN alone) is an error that names the operation that made it, and changes no variable
    (docs/debugging.md); None: as GRAPHC_CHECK_NUMERICS in the environment says. verify: what is compiled, pass by pass and kernel by
    kernel, is compared with the reference interpreter on random values, and an error of the compiler raised as `WrongPass`
    (docs/debugging.md); slow; None: as GRAPHC_VERIFY in the environment says at each compilation. The other fields are TF1's; they are
    accepted so that old programs run, and have no effect here.
    """

    pipeline: str | Pipeline = "default"
    intra_op_parallelism_threads: int = 0
    inter_op_parallelism_threads: int = 0
    allow_soft_placement: bool = False
    log_device_placement: bool = False
    device_count: dict[str, int] = field(default_factory=dict)
    gpu_options: GPUOptions = field(default_factory=GPUOptions)
    use_per_session_threads: bool = False
    operation_timeout_in_ms: int = 0
    graph_options: Any = None
    device: str | None = None
    products: str = "auto"
    products_precision: str = "float32"
    checked: bool | None = None
    check_numerics: bool | str | None = None
    verify: bool | None = None

    def settings(self) -> Settings:
        """The values checked."""
        counts = self._counts()
        return Settings(
            pipeline=self._chosen_pipeline(), threads=self._threads(), device=self._device(), soft=bool(self.allow_soft_placement),
            log=bool(self.log_device_placement), cpus=max(1, counts.get("CPU", 1)), gpus=counts.get("GPU"),
            visible_gpus=self._visible_gpus(), memory_fraction=self._memory_fraction(), products=self._one_of("products", PRODUCTS),
            products_precision=self._one_of("products_precision", PRECISIONS), checked=self._checked(),
            check_numerics=self._check_numerics(), verify=self._verify())

    def _chosen_pipeline(self) -> Pipeline:
        if isinstance(self.pipeline, Pipeline):
            return self.pipeline
        if not isinstance(self.pipeline, str) or self.pipeline not in PIPELINES:
            raise ValueError(f"ConfigProto(pipeline={self.pipeline!r}): it must be one of {', '.join(PIPELINES)}, or a Pipeline")
        return PIPELINES[self.pipeline]

    def _threads(self) -> int:
        count: Any = self.intra_op_parallelism_threads
        given = f"ConfigProto(intra_op_parallelism_threads={count!r})"
        if not isinstance(count, int):
            raise TypeError(f"{given} has type {type(count).__name__}, but expected one of: int")
        if count < 0:
            raise ValueError(f"{given}: it must not be negative")
        return count or len(os.sched_getaffinity(0))

    def _device(self) -> DeviceSpec | None:
        text: Any = self.device
        if text is None:
            return None
        given = f"ConfigProto(device={text!r})"
        if not isinstance(text, str):
            raise TypeError(f"{given} has type {type(text).__name__}, but expected one of: str, None")
        try:
            spec = DeviceSpec.parse(text)
        except ValueError as error:
            raise ValueError(f"{given}: {error}; write \"cpu\", \"gpu\" or \"/gpu:1\"") from None
        if spec.device_type not in ("CPU", "GPU"):
            raise ValueError(f'{given}: it must name a CPU or a GPU: "cpu", "gpu", "/gpu:1"')
        return spec

    def _counts(self) -> dict[str, int]:
        counts: Any = self.device_count
        given = f"ConfigProto(device_count={counts!r})"
        if not isinstance(counts, dict):
            raise TypeError(f"{given} has type {type(counts).__name__}, but expected one of: dict")
        for kind, count in counts.items():
            if not isinstance(kind, str) or not isinstance(count, int):
                raise TypeError(f"{given}: it maps names of kinds of devices to ints")
            if count < 0:
                raise ValueError(f"{given}: a count must not be negative")
        return counts

    def _visible_gpus(self) -> tuple[int, ...] | None:
        text: Any = self._gpu_options().visible_device_list
        given = f"GPUOptions(visible_device_list={text!r})"
        if not isinstance(text, str):
            raise TypeError(f"{given} has type {type(text).__name__}, but expected one of: str")
        if not text:
            return None
        entries = [entry.strip() for entry in text.split(",")]
        wrong = [entry for entry in entries if not entry.isdecimal()]
        if wrong:
            raise ValueError(f"Could not parse entry in 'visible_device_list': '{wrong[0]}'. visible_device_list = {text}")
        numbers = tuple(map(int, entries))
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{given}: a GPU is listed twice")
        return numbers

    def _memory_fraction(self) -> float:
        fraction: Any = self._gpu_options().per_process_gpu_memory_fraction
        given = f"GPUOptions(per_process_gpu_memory_fraction={fraction!r})"
        if not isinstance(fraction, int | float):
            raise TypeError(f"{given} has type {type(fraction).__name__}, but expected one of: int, float")
        if not 0 <= fraction <= 1:
            raise ValueError(f"{given}: it must be between 0 and 1")
        return float(fraction)

    def _gpu_options(self) -> GPUOptions:
        if not isinstance(self.gpu_options, GPUOptions):
            given = f"ConfigProto(gpu_options={self.gpu_options!r})"
            raise TypeError(f"{given} has type {type(self.gpu_options).__name__}, but expected one of: GPUOptions")
        return self.gpu_options

    def _checked(self) -> bool:
        given: Any = self.checked
        if not isinstance(given, bool | None):
            raise TypeError(f"ConfigProto(checked={given!r}) has type {type(given).__name__}, but expected one of: bool, None")
        return os.environ.get("GRAPHC_CHECKED", "") not in ("", "0") if given is None else given

    def _verify(self) -> bool | None:
        given: Any = self.verify
        if not isinstance(given, bool | None):
            raise TypeError(f"ConfigProto(verify={given!r}) has type {type(given).__name__}, but expected one of: bool, None")
        return given

    def _check_numerics(self) -> str:
        given: Any = self.check_numerics
        where = f"ConfigProto(check_numerics={given!r})"
        if given is None:
            said = os.environ.get("GRAPHC_CHECK_NUMERICS", "")
            where, given = f"GRAPHC_CHECK_NUMERICS={said}", {"": False, "0": False, "1": True}.get(said, said)
        if isinstance(given, bool):
            return ALL if given else ""
        if not isinstance(given, str):
            raise TypeError(f"{where} has type {type(given).__name__}, but expected one of: bool, str, None")
        if given not in (ALL, NAN):
            raise ValueError(f"{where}: it must be True, False, '{ALL}' or '{NAN}' (in the environment 1, 0, {ALL} or {NAN})")
        return given

    def _one_of(self, name: str, known: tuple[str, ...]) -> str:
        value = getattr(self, name)
        if value not in known:
            raise ValueError(f"ConfigProto({name}={value!r}): it must be one of {', '.join(known)}")
        return str(value)
