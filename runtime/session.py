"""`Session`: runs graphs. The last room: finds or makes the executable for what is asked, then makes one native call.

The fast path of `run` is one dictionary look-up by (fetches, feed keys), the output arrays, and the call; the machine code itself checks that
each feed is an array of the shape and dtype that it was compiled for. Whatever does not fit takes the slow path: feeds are converted and
checked, and a new shape is compiled, with its cause logged.
"""
from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.errors import InvalidArgumentError, explain
from graphc.core.graph import Graph, get_default_graph
from graphc.core.operation import Tensor
from graphc.core.scopes import default_sessions
from graphc.core.specialise import specialise
from graphc.core.static import ValueNeeded
from graphc.core.types import TensorType
from graphc.runtime.arena import allocate_arena, check_memory
from graphc.runtime.compile import compile_program, link
from graphc.runtime.config import ConfigProto
from graphc.runtime.executable import Executable, Slots
from graphc.runtime.feeds import feed_array, feed_tensor
from graphc.runtime.fetches import Fetches, key_of
from graphc.runtime.store import VariableStore

log = logging.getLogger("graphc")
Array = np.ndarray[Any, Any]


class _Bound:
    """An executable with its memory, ready to be called: `run(*feeds, *outputs)`."""

    def __init__(self, executable: Executable, store: VariableStore) -> None:
        self.executable = executable
        self.store = store
        self.outputs = tuple((type_.dims, type_.dtype.np_dtype) for type_ in executable.fetches)
        self.reads = tuple(name for name, _ in executable.reads)
        self.writes = tuple(name for name, _ in executable.writes)
        check_memory(executable.memory.arena_bytes + sum(t.nbytes for t in executable.fetches), _largest(executable))
        slots = executable.slots
        lasting = {Slots.ARENA: allocate_arena(executable.memory.arena_bytes), Slots.SCRATCH: allocate_arena(executable.scratch_bytes, "scratch memory")}
        lasting.update({slots.variable(name): store.array(name, type_) for name, type_ in (*executable.reads, *executable.writes)})
        lasting.update({slots.constant(n): np.ascontiguousarray(array) for n, array in enumerate(executable.constants)})
        self.run = link(executable, lasting)
        self.ready = False  # whether every variable read has a value: once true, true for ever

    def make_ready(self) -> None:
        self.store.require(self.reads)
        self.ready = True

    def written(self) -> None:
        self.store.initialised.update(self.writes)


def _largest(executable: Executable) -> str:
    buffers = sorted(executable.memory.buffers, key=lambda b: -b.size)
    return "a run" + (f" (its largest buffer: {buffers[0].values[0]})" if buffers else "")


class _Call:
    """What one pair of (fetch structure, feed keys) means: elements to compute, tensors to feed, executables by the feeds' shapes."""

    def __init__(self, fetches: Fetches, feeds: Sequence[Tensor]) -> None:
        self.fetches = fetches
        self.feeds = tuple(feeds)
        self.bound: dict[Hashable, _Bound] = {}
        self.last: _Bound | None = None
        self.by_value: set[int] = set()  # positions of feeds whose values shapes depend on


class BaseSession:
    """What `Session` and `InteractiveSession` share."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        self._target = target
        self._graph = get_default_graph() if graph is None else graph
        if not isinstance(self._graph, Graph):
            raise TypeError(f"graph must be a graphc.Graph, but got {type(graph)}")
        self._config = ConfigProto() if config is None else config
        if not isinstance(self._config, ConfigProto):
            raise TypeError(f"config must be a graphc.ConfigProto, but got {type(config)}")
        self._pipeline, self._threads = self._config.chosen_pipeline(), self._config.threads()
        self._store = VariableStore(self._graph)
        self._calls: dict[Hashable, _Call] = {}
        self._warned: set[Tensor] = set()
        self._lock = threading.RLock()
        self._closed = False

    @property
    def graph(self) -> Graph:
        """The graph that this session runs."""
        return self._graph

    @property
    def sess_str(self) -> str:
        return self._target

    # -- running ------------------------------------------------------------------------------------------------------------------------

    def run(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Computes `fetches` and gives their values in the same structure (None for an operation; numpy arrays and scalars).

        fetches: a tensor, operation, variable, name, or nested lists, tuples, namedtuples and dicts of them. feed_dict: values for
        placeholders or any other feedable tensors. Within one run operations on one variable take effect in the order in which they
        were declared; fetching a variable gives its value at the end. Raises RuntimeError on a closed session, TypeError or ValueError for
        fetches and feeds that do not fit, errors.InvalidArgumentError for an unfed placeholder or shapes that break an operation's
        rule, errors.FailedPreconditionError for an uninitialised variable, errors.ResourceExhaustedError for too little memory. After
        any of them the session goes on working and no variable has changed.
        """
        feeds: Mapping[Any, Any] = {} if feed_dict is None else feed_dict
        call = None if self._closed else self._known(fetches, feeds)
        if call is None:
            call = self._prepare(fetches, feeds)
        return call.fetches.assemble(self._compute(call, feeds.values()))

    def _known(self, fetches: Any, feeds: Mapping[Any, Any]) -> _Call | None:
        try:
            return self._calls.get((fetches if type(fetches) is Tensor else key_of(fetches), *feeds))
        except TypeError:  # an unhashable key of feeds: `_prepare` says which
            return None

    def _prepare(self, fetches: Any, feeds: Mapping[Any, Any]) -> _Call:
        self._check_open()
        if not isinstance(feeds, Mapping):
            raise TypeError(f"feed_dict must be a dictionary from tensors to values, but got {type(feeds)}")
        call = _Call(Fetches(fetches, self._graph), [feed_tensor(key, self._graph) for key in feeds])
        with self._lock:
            return self._calls.setdefault((fetches if type(fetches) is Tensor else key_of(fetches), *feeds), call)

    def _compute(self, call: _Call, values: Any) -> list[Any]:
        """The fetched tensors' values, in order."""
        bound = call.last
        if bound is not None and bound.ready:
            outputs = [np.empty(shape, dtype) for shape, dtype in bound.outputs]
            with self._lock:
                refused = self._closed or bound.run(*values, *outputs) is not None
            if not refused:
                return [output if output.ndim else output[()] for output in outputs]
        return self._compute_slowly(call, values)

    def _compute_slowly(self, call: _Call, values: Any) -> list[Any]:
        arrays = [feed_array(tensor, value, self._warned) for tensor, value in zip(call.feeds, values, strict=True)]
        arrays = [array.view(tensor.dtype.np_dtype) if array.dtype is not tensor.dtype.np_dtype else array
                  for tensor, array in zip(call.feeds, arrays, strict=True)]
        with self._lock:
            self._check_open()
            bound = self._bound(call, arrays)
            if not bound.ready:
                bound.make_ready()
            outputs = [np.empty(shape, dtype) for shape, dtype in bound.outputs]
            refused = bound.run(*arrays, *outputs)
            if refused is not None:
                raise AssertionError(f"array {refused} of a run does not fit what was compiled for it")
            bound.written()
            call.last = None if call.by_value else bound
        return [output if output.ndim else output[()] for output in outputs]

    # -- compiling ----------------------------------------------------------------------------------------------------------------------

    def _bound(self, call: _Call, arrays: Sequence[Array]) -> _Bound:
        key = self._shape_key(call, arrays)
        if key not in call.bound:
            known = len(call.bound)
            executable = self._compile(call, arrays)
            key = self._shape_key(call, arrays)
            shapes = ", ".join(f"{tensor.name} {array.shape}" for tensor, array in zip(call.feeds, arrays, strict=True))
            cause = "new fetches or feed keys" if not known else f"new shapes or values of feeds: {shapes}"
            log.info("compiled %s because of %s", ", ".join(t.name for t in call.fetches.elements) or "nothing", cause)
            call.bound[key] = _Bound(executable, self._store)
        return call.bound[key]

    def _shape_key(self, call: _Call, arrays: Sequence[Array]) -> Hashable:
        return tuple([(array.shape, array.tobytes() if n in call.by_value else None) for n, array in enumerate(arrays)])

    def _compile(self, call: _Call, arrays: Sequence[Array]) -> Executable:
        """Specialises to the feeds' shapes, and to the values of those on which a shape turns out to depend."""
        types = {tensor: TensorType(tensor.dtype, array.shape) for tensor, array in zip(call.feeds, arrays, strict=True)}
        while True:
            values = {call.feeds[n]: arrays[n] for n in sorted(call.by_value)}
            try:
                program = specialise(call.fetches.elements, types, values)
            except ValueNeeded as need:
                found = {n for n, tensor in enumerate(call.feeds) if tensor.name in need.parameters} - call.by_value
                if need.variables or not found:
                    raise self._value_unknown(need) from None
                call.by_value |= found
                continue
            return compile_program(program, self._pipeline, self._threads)

    def _value_unknown(self, need: ValueNeeded) -> InvalidArgumentError:
        name = (need.variables or need.parameters)[0].split(":")[0]
        operation = self._graph.get_operation_by_name(name)
        problem = f"A shape depends on the value of '{name}', which is only known while the graph runs: feed it, or make it a constant."
        return InvalidArgumentError(None, operation, explain(operation, problem))

    def compile(self, fetches: Any, feeds: Mapping[Any, Any] | Sequence[Any] = ()) -> Executable:
        """The Executable that `run(fetches, feeds)` would use, without running it: its program, stages, kernels and memory plan.

        feeds: as `feed_dict`, where a value may also be a shape (a tuple of ints); or a list of tensors whose shapes are fully known.
        """
        pairs = dict(feeds) if isinstance(feeds, Mapping) else {tensor: None for tensor in feeds}
        keys = {key: feed_tensor(key, self._graph) for key in pairs}
        arrays = {key: _example(tensor, pairs[key], self._warned) for key, tensor in keys.items()}
        call = self._known(fetches, arrays) or self._prepare(fetches, arrays)
        with self._lock:
            self._check_open()
            return self._bound(call, list(arrays.values())).executable

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False) -> Callable[..., Any]:
        """A function of the values for `feed_list`, in order, that gives what `run` would: the look-ups are done once."""
        keys = list(feed_list or ())
        call = self._prepare(fetches, dict.fromkeys(keys))

        def run(*values: Any) -> Any:
            if len(values) != len(keys):
                raise TypeError(f"this callable takes {len(keys)} feed values, but got {len(values)}")
            self._check_open()
            return call.fetches.assemble(self._compute(call, values))

        return run

    # -- life ---------------------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Frees the session's variables, arenas and machine code. Running it again raises RuntimeError."""
        with self._lock:
            self._closed = True
            self._calls.clear()
            self._store = VariableStore(self._graph)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")

    def as_default(self) -> AbstractContextManager[Any]:
        """A context in which `Tensor.eval` and `Operation.run` use this session. Does not close it."""
        return default_sessions.pushed(self)

    def list_variables(self) -> list[str]:
        """Names of the variables that have a value."""
        return sorted(self._store.initialised)

    def __repr__(self) -> str:
        return f"<graphc.{type(self).__name__} pipeline={self._pipeline.name!r}{' closed' if self._closed else ''}>"


def _example(tensor: Tensor, value: Any, warned: set[Tensor]) -> Array:
    """An array to compile for: `value` itself, zeros of the shape `value`, or zeros of the tensor's own static shape."""
    dtype: DType = tensor.dtype
    if isinstance(value, tuple) and all(isinstance(dim, int) for dim in value) and (tensor.shape_tuple is None or len(value) == tensor.rank):
        return feed_array(tensor, np.broadcast_to(np.zeros((), dtype.np_dtype), value), {tensor})
    if value is not None:
        return feed_array(tensor, value, warned)
    if tensor.shape_tuple is None or None in tensor.shape_tuple:
        raise ValueError(f"compile needs a value or a shape for '{tensor.name}': its declared shape is not fully known")
    return np.zeros([dim for dim in tensor.shape_tuple if dim is not None], dtype.np_dtype)


class Session(BaseSession):
    """Runs operations of a graph (TF1's `tf.Session`). As a context manager it is the default session inside, and closed at the end.

    target: TF1's; not used. graph: the default graph where it is None. config: a `ConfigProto`. Safe to use from several threads: runs of
    one session take turns, because they share its variables and memory.
    """

    def __enter__(self) -> Session:
        self._contexts = getattr(self, "_contexts", [])
        contexts = [self._graph.as_default(), self.as_default()]
        for context in contexts:
            context.__enter__()
        self._contexts.append(contexts)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for context in reversed(self._contexts.pop()):
            context.__exit__(kind, error, traceback)
        self.close()


class InteractiveSession(BaseSession):
    """A session that is the default one from its making until `close`, for a notebook or a shell."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        super().__init__(target, graph, config)
        self._default = self.as_default()
        self._default.__enter__()

    def close(self) -> None:
        if not self._closed:
            self._default.__exit__(None, None, None)
        super().close()
