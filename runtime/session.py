"""`Session`: runs graphs. The last room: finds or makes the executable for what is asked, then makes one native call.

The fast path of `run` is one dictionary look-up by (fetches, feed keys), the output arrays, and the call; the machine code itself checks
that each feed is an array of the shape and dtype that it was compiled for. Whatever does not fit takes the slow path: feeds are converted
and checked, and a new shape is compiled, with its cause logged.
"""
from __future__ import annotations

import os
import threading
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.core.graph import Graph, get_default_graph
from graphc.core.operation import Tensor
from graphc.core.scopes import default_sessions
from graphc.core.source import SourceLine
from graphc.inspection.nonfinite import NonFinite
from graphc.inspection.numerics import find
from graphc.runtime.calls import Around, Call, Computation
from graphc.runtime.compilations import Compilations, some
from graphc.runtime.config import ConfigProto
from graphc.runtime.cuda.arrays import device_array
from graphc.runtime.executable import Executable
from graphc.runtime.feeds import check_shape, feed_array, feed_tensors, is_structure
from graphc.runtime.fetches import Fetches, key_of
from graphc.runtime.placement import DeviceAttributes, Placer
from graphc.runtime.profile import Profile, median_profile, profile_of
from graphc.runtime.recorder import FEEDS, Recorder
from graphc.runtime.run_options import RunMetadata, RunOptions
from graphc.runtime.run_options import check as check_options
from graphc.runtime.targets import Targets
from graphc.runtime.verifying import silent

if TYPE_CHECKING:
    from graphc.runtime.verdict import Verdict

Array = np.ndarray[Any, Any]
_GROWTHS = 10  # times that one line adds to the graph between runs before the session says so


class GrowingGraphWarning(UserWarning):
    """A loop declares operations instead of running them: every round compiles anew."""


class _Forks:
    """Lets a fork wait until no session runs: a child forked in the middle of a run would find its session taken for ever."""

    def __init__(self) -> None:
        self.sessions: weakref.WeakSet[BaseSession] = weakref.WeakSet()
        self._held: list[BaseSession] = []
        os.register_at_fork(before=self._hold, after_in_parent=self._let_go, after_in_child=self._let_go)

    def _hold(self) -> None:
        self._held = list(self.sessions)
        for session in self._held:
            session._lock.acquire()

    def _let_go(self) -> None:
        for session in self._held:
            session._lock.release()
        self._held = []


_forks = _Forks()


@dataclass(frozen=True)
class _Recorded:
    """A run that was timed. device: the first that it ran on, in TF1's words."""

    results: Any
    profile: Profile
    executable: Executable
    device: str


class BaseSession:
    """What `Session` and `InteractiveSession` share."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        if not isinstance(target, str):
            raise TypeError(f"target must be a string, but got {type(target)}")
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(f"graph must be a graphc.Graph, but got {type(graph)}")
        if config is not None and not isinstance(config, ConfigProto):
            raise TypeError(f"config must be a graphc.ConfigProto, but got {type(config)}")
        self._target = target
        self._graph = get_default_graph() if graph is None else graph
        self._settings = (ConfigProto() if config is None else config).settings()
        self._lock = threading.RLock()
        self._closed = False
        self._placer = Placer(self._graph, self._settings)
        self._targets = Targets(self._graph, self._settings)
        self._around = Around(self._graph, self._placer, self._targets)
        self._calls: dict[Hashable, Call] = {}
        self._computations: dict[Hashable, Computation] = {}
        self._warned: set[Tensor] = set()  # whose feeds are known to be slow
        self._growths: Counter[SourceLine] = Counter()
        self._version = 0  # of the graph when something new was last asked
        _forks.sessions.add(self)

    @property
    def graph(self) -> Graph:
        """The graph that this session runs."""
        return self._graph

    @property
    def sess_str(self) -> str:
        """TF1's name of the target; not used."""
        return self._target

    # -- running ------------------------------------------------------------------------------------------------------------------------

    def run(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Computes `fetches` and gives their values in the same structure (None for an operation; numpy arrays and scalars).

        fetches: a tensor, operation, variable, name, or nested lists, tuples, namedtuples and dicts of them. feed_dict: values for
        placeholders or any other feedable tensors. Within one run operations on one variable take effect in the order in which they
        were declared; fetching a variable gives its value at the end. options: a `RunOptions`; with a trace level, and a `RunMetadata` to
        write to as run_metadata, every step is timed. Raises RuntimeError on a closed session, TypeError or ValueError for
        fetches and feeds that do not fit, errors.InvalidArgumentError for an unfed placeholder or shapes that break an operation's
        rule, errors.FailedPreconditionError for an uninitialised variable, errors.ResourceExhaustedError for too little memory. After
        any of them the session goes on working and no variable has changed.
        """
        if feed_dict is None:
            feed_dict = {}
        try:
            call = self._calls[(fetches if type(fetches) is Tensor else key_of(fetches), *feed_dict)]
            values = feed_dict.values()
        except (AttributeError, KeyError, TypeError):  # new, or something in it is of the wrong kind: `_prepare` says what
            call = self._prepare(fetches, feed_dict)
            values = feed_dict.values()
        if options is None and run_metadata is None:
            return self._compute(call, values)
        return self._run_with(options, run_metadata, call, values)

    def _prepare(self, fetches: Any, feed_dict: Mapping[Any, Any]) -> Call:
        """The Call for what was not asked before in this way."""
        self._check_open()
        if not isinstance(feed_dict, Mapping):
            raise TypeError(f"feed_dict must be a dictionary from tensors to values, but got {type(feed_dict)}")
        keys = tuple(feed_dict)
        flattened = Fetches(fetches, self._graph)
        feeds = feed_tensors(keys, self._graph)
        with self._lock:
            self._check_open()
            self._watch_growth()
            asked = (flattened.elements, frozenset(feeds))
            computation = self._computations.get(asked)
            if computation is None:
                computation = self._computations[asked] = Computation(flattened.elements, feeds, self._around)
            order = None if computation.feeds == tuple(feeds) else tuple([feeds.index(tensor) for tensor in computation.feeds])
            call = Call(flattened.assemble, computation, keys if any(map(is_structure, keys)) else None, order)
            return self._calls.setdefault((fetches if type(fetches) is Tensor else key_of(fetches), *keys), call)

    def _compute(self, call: Call, given: Iterable[Any]) -> Any:
        """The results for the values `given`, in the structure of the fetches."""
        computation = call.computation
        bound = computation.last
        values = call.values(given)
        if bound is not None:  # try what ran last: its machine code says whether the arrays fit, as they are or once converted
            outputs = [np.empty(shape, dtype) for shape, dtype in bound.outputs]
            with self._lock:
                refused = bound.run(*values, *outputs)
            if refused is not None:
                values = self._arrays(computation, values)
                with self._lock:
                    refused = bound.run(*values, *outputs)
            if refused is None:
                return call.assemble([output if output.ndim else output[()] for output in outputs] if bound.scalars else outputs)
        arrays = self._arrays(computation, values)
        with self._lock:
            self._check_open()
            outputs = computation.run(arrays)
        return call.assemble([output if output.ndim else output[()] for output in outputs])

    def _run_with(self, options: RunOptions | None, metadata: RunMetadata | None, call: Call, given: Iterable[Any]) -> Any:
        """The results, and in `metadata` what the options ask of the run. TypeError for what is neither."""
        check_options(options, metadata)
        graphs = options is not None and options.output_partition_graphs
        if metadata is None or options is None or not (graphs or options.trace_level):
            results = self._compute(call, given)
            if metadata is not None:
                metadata.Clear()
            return results
        recorded = self._recorded(call, given)
        metadata.write(recorded.profile if options.trace_level else None, recorded.executable, graphs, recorded.device)
        return recorded.results

    def _recorded(self, call: Call, given: Iterable[Any]) -> _Recorded:
        """A run whose every step is timed, on the same paths as `_compute`; it waits for its turn first."""
        computation = call.computation
        with self._lock:
            self._check_open()
            device = computation.devices[0].name
            recorder = Recorder(device)
            began, start = time.time_ns(), time.monotonic_ns()
            values = call.values(given)
            bound = computation.last
            outputs = bound.empty_outputs() if bound is not None else []
            if bound is not None and recorder.run(bound, [*values, *outputs]) is None:
                end, executable = time.monotonic_ns(), bound.executable
            else:
                with recorder.during(FEEDS, ""):
                    arrays = self._arrays(computation, values)
                outputs = computation.run(arrays, recorder)
                end, executable = time.monotonic_ns(), computation.bound(arrays).executable
        results = call.assemble([output if output.ndim else output[()] for output in outputs])
        return _Recorded(results, profile_of(executable, recorder.spans, start, end, began, self._settings.threads), executable, device)

    def _arrays(self, computation: Computation, values: Sequence[Any]) -> list[Array]:
        return [self._array(tensor, value, computation) for tensor, value in zip(computation.feeds, values, strict=True)]

    def _array(self, tensor: Tensor, value: Any, computation: Computation) -> Any:
        """`value` as a run takes it: an array, or what is on the run's GPU already."""
        if not hasattr(value, "__cuda_array_interface__"):
            return feed_array(tensor, value, self._warned)
        with self._lock:
            devices = computation.devices
        return device_array(tensor, value, devices[0].physical if len(devices) == 1 and devices[0].kind == "GPU" else None)

    def _watch_growth(self) -> None:
        """Warns once when one line keeps adding operations between runs: such a loop gets slower and never ends compiling."""
        version, before = self._graph.version, self._version
        self._version = version
        if not before or version == before:
            return
        added = self._graph.get_operations()[before:]
        line = added[-1].source_line
        self._growths[line] += 1
        if self._growths[line] == _GROWTHS:
            others = [str(each) for each in dict.fromkeys(operation.source_line for operation in added) if each is not line]
            warnings.warn_explicit(
                f"graphc: the graph has grown between runs {_GROWTHS} times at {line.describe()}\n"
                f"  the last time by {len(added)} operations{f', also at {some(others)}' if others else ''}\n"
                "  each time is compiled anew: declare it once, before the loop, and feed what changes (Graph.finalize() finds such lines)",
                GrowingGraphWarning, line.path or "<unknown>", line.line)

    # -- compiling ----------------------------------------------------------------------------------------------------------------------

    def compile(self, fetches: Any, feeds: Mapping[Any, Any] | Sequence[Any] = (), target: str = "") -> Executable:
        """The Executable that `run(fetches, feeds)` would use, without running it: its program, stages, kernels and memory plan.

        feeds: as `feed_dict`, where a value may also be a shape (a tuple of ints); or a list of tensors whose shapes are fully known. Their
        order in the executable is that in which they were fed first. target: "cpu", or an architecture ("sm_90"), compiles all of it
        for that instead, be it here or not; ValueError for what is neither.
        Raises what `run` raises, except for uninitialised variables. Where a size is only known while the graph runs, it is a
        `graphc.runtime.staged.StagedExecutable`: the stages of the last run, or the first stage.
        """
        examples: dict[Any, Any] = dict(feeds) if isinstance(feeds, Mapping) else dict.fromkeys(feeds)
        call = self._prepare(fetches, examples)
        values = call.values(examples.values()) if isinstance(feeds, Mapping) else [None] * len(call.computation.feeds)
        arrays = [_example(tensor, value) for tensor, value in zip(call.computation.feeds, values, strict=True)]
        with self._lock:
            self._check_open()
            return call.computation.compiled(arrays, target) if target else call.computation.bound(arrays).executable

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False) -> Callable[..., Any]:
        """A function of the values for `feed_list`, in order, that gives what `run` would: the look-ups are done once. With accept_options
        it also takes `options` and `run_metadata`, as `run` does."""
        keys = list(feed_list or ())
        call = self._prepare(fetches, dict.fromkeys(keys))

        def run(*values: Any) -> Any:
            if len(values) != len(keys):
                raise TypeError(f"this callable takes {len(keys)} feed values, but got {len(values)}")
            return self._compute(call, values)

        def run_with(*values: Any, options: RunOptions | None = None, run_metadata: RunMetadata | None = None) -> Any:
            if (options is None and run_metadata is None) or len(values) != len(keys):
                return run(*values)
            return self._run_with(options, run_metadata, call, values)

        return run_with if accept_options else run

    def profile(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, runs: int = 20) -> Profile:
        """How long each step of `run(fetches, feed_dict)` takes: the medians of `runs` runs, after some that are not counted. All are real
        runs: variables change. ValueError unless `runs` is at least 1; else raises what `run` raises."""
        if not isinstance(runs, int) or runs < 1:
            raise ValueError(f"profile needs at least one run; got runs={runs!r}")
        feeds = {} if feed_dict is None else feed_dict
        call = self._prepare(fetches, feeds)
        for _ in range(2):  # a GPU's second run is the first of the kind that follows
            self._compute(call, feeds.values())
        self._recorded(call, feeds.values())
        return median_profile([self._recorded(call, feeds.values()).profile for _ in range(runs)])

    @property
    def compilations(self) -> Compilations:
        """What this session has compiled so far, with the causes, and how many runs found what they needed: prints as text."""
        with self._lock:
            log = self._around.log
            runs = log.retired + sum(each.runs for each in self._computations.values())
            return Compilations(tuple(log.records), runs, log.misses)

    # -- looking into a run -------------------------------------------------------------------------------------------------------------

    def find_nan(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, *, ignore_masked: bool = True,
                 infinities: bool = True) -> NonFinite | None:
        """The operation that first makes a NaN or an infinity of finite values in `run(fetches, feed_dict)`, with its line, inputs and the
        values around the place; or the feed or variable that has one. None where all results and all written variables are finite.

        The run is done again in the reference interpreter, from the variables' present values, and changes none of them: after a step
        that wrote NaN, it finds the variables. ignore_masked: what reaches no result, as in the arm of a `where` that is not taken, does
        not count. infinities: they count too, but for those that the program itself writes, as constants. Raises what `run` raises of
        fetches, feeds and uninitialised variables; SlowReplayWarning for a large program.
        """
        feeds = {} if feed_dict is None else feed_dict
        call = self._prepare(fetches, feeds)
        arrays = self._arrays(call.computation, call.values(feeds.values()))
        with self._lock:
            self._check_open()
            return find(call.computation.replayed(arrays), ignore_masked=ignore_masked, infinities=infinities)

    def bisect(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, tell: Callable[[str], None] = silent) -> Verdict:
        """Compares every pass and every kernel of `run(fetches, feed_dict)`, on the variables' present values, with the reference
        interpreter: the Verdict names the first that changes a result, down to one rule application (docs/debugging.md).

        Nothing runs and no variable changes. tell: is told of each step in a line. Raises what `run` raises of fetches, feeds and
        uninitialised variables; ValueError for what is on a GPU, or too large for the interpreter.
        """
        feeds = {} if feed_dict is None else feed_dict
        call = self._prepare(fetches, feeds)
        arrays = self._arrays(call.computation, call.values(feeds.values()))
        with self._lock:
            self._check_open()
            return call.computation.bisected(arrays, tell)

    # -- life ---------------------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Frees the session's variables, workspace and machine code, once runs in other threads are done. Running it again raises
        RuntimeError."""
        with self._lock:
            self._closed = True
            for computation in self._computations.values():
                computation.retire()
            self._calls.clear()
            self._computations.clear()
            self._targets.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")

    def as_default(self) -> AbstractContextManager[Any]:
        """A context in which `Tensor.eval` and `Operation.run` use this session. Does not close it."""
        return default_sessions.pushed(self)

    def list_variables(self) -> list[str]:
        """Names of the variables that have a value."""
        return sorted(self._targets.initialised)

    def list_devices(self) -> list[DeviceAttributes]:
        """The devices that this session may use, with their memory."""
        self._check_open()
        return [DeviceAttributes(device.name, device.kind, device.memory) for device in self._placer.devices]

    def __repr__(self) -> str:
        return f"<graphc.{type(self).__name__} pipeline={self._settings.pipeline.name!r}{' closed' if self._closed else ''}>"


def _example(tensor: Tensor, value: Any) -> Array:
    """An array to compile for: `value` itself, or one of the shape `value` or of the tensor's own shape, which takes no memory."""
    dims = tensor.shape_tuple
    is_shape = isinstance(value, tuple) and all(isinstance(dim, int) for dim in value) and (dims is None or len(value) == len(dims))
    if value is not None and not is_shape:
        return feed_array(tensor, value, {tensor})
    shape: Any = dims if value is None else value
    if shape is None or None in shape:
        raise ValueError(f"compile needs a value or a shape for '{tensor.name}': its declared shape is not fully known\n"
                         f"  declared at {tensor.op.source_line.describe()}")
    check_shape(tensor, shape)
    return np.broadcast_to(np.zeros((), tensor.dtype.np_dtype), shape)


class Session(BaseSession):
    """Runs operations of a graph (TF1's `tf.Session`). As a context manager it is the default session inside, and closed at the end.

    target: TF1's; not used. graph: the default graph where it is None. config: a `ConfigProto`. Safe to use from several threads: runs of
    one session take turns, because they share its variables and memory. TypeError or ValueError for arguments that are none of these.
    """

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        super().__init__(target, graph, config)
        self._contexts: list[ExitStack] = []

    def __enter__(self) -> Session:
        context = ExitStack()
        context.enter_context(self._graph.as_default())
        context.enter_context(self.as_default())
        self._contexts.append(context)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._contexts.pop().__exit__(kind, error, traceback)
        self.close()


class InteractiveSession(BaseSession):
    """A session that is the default one of this thread from its making until `close`, for a notebook or a shell.

    Such sessions may be closed in any order; the last one made that is open is the default.
    """

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        super().__init__(target, graph, config)
        default_sessions.stack.append(self)

    def close(self) -> None:
        if self in default_sessions.stack:
            default_sessions.stack.remove(self)
        super().close()
