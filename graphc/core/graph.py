"""`Graph`: what the user declares, append-only, in TensorFlow 1's words. First step of the flow; `specialise` reads it.

Everything that adds an operation goes through `Graph.create_op`, which names it, infers its types, and notes the user's line, the control
inputs and the device that the open scopes give it.
"""
from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from graphc.core import scopes as surroundings
from graphc.core.keys import Collections
from graphc.core.opdef import GraphType, OpDef
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.scopes import OP_NAME, SCOPE_NAME, ControlScope, DefaultStack, DeviceChoice, NameTable, ScopeState
from graphc.core.shapes import in_brackets
from graphc.core.source import user_line

# Small integer values are followed while the graph is declared, because later shapes may depend on them.
FOLLOWED_ELEMENTS = 64
Inferred = tuple[tuple[GraphType, ...], tuple[Node, ...] | None]


class Graph:
    """A graph of operations. `seed` is the graph-level random seed (None: not set)."""

    def __init__(self) -> None:
        self.seed: int | None = None
        self._operations: dict[str, Operation] = {}
        self._names = NameTable()
        self._scopes = ScopeState()
        self._collections = Collections()
        self._inferred: dict[Any, Inferred] = {}
        self._last_write: dict[Operation, int] = {}
        self._not_feedable: set[Tensor] = set()
        self._not_fetchable: set[Tensor | Operation] = set()
        self._finalized = False
        self._lock = threading.RLock()

    # -- declaring ------------------------------------------------------------------------------------------------------------------------

    def create_op(self, definition: OpDef, inputs: Sequence[Tensor] = (), attrs: Mapping[str, Any] | None = None,
                  name: str | None = None, *, control_inputs: Iterable[Operation] = (), gradient_of: Operation | None = None) -> Operation:
        """Adds an operation and gives it.

        name: made unique inside the current name scope (default: the type); one that ends in "/" is taken as it is, from the root.
        gradient_of: the forward operation, where this one computes its gradient. Raises TypeError or ValueError where types, attributes,
        names or graphs do not fit, RuntimeError on a finalized graph.
        """
        self._check_not_finalized()
        source_line = user_line()
        inputs = tuple(inputs)
        # Mostly every attribute is given, or there is none: only else look at each.
        attrs = dict(attrs or {}) if (attrs or {}).keys() == (definition.attrs or {}).keys() else definition.checked(attrs or {})
        for tensor in inputs:
            if tensor.op.graph is not self:
                raise ValueError(f"{tensor} must be from the same graph as the operation that reads it ({definition.type})\n"
                                 f"  declared at {source_line.describe()}")
        with self._lock:
            chosen = self._op_name(definition.type if name is None else name)
            operation = Operation(self, len(self._operations) + 1, chosen, definition, inputs, attrs, source_line, gradient_of)
            types, nodes = self._infer(operation)
            operation.outputs = tuple([Tensor(operation, n, dtype, shape) for n, (dtype, shape) in enumerate(types)])
            if nodes is not None:
                _follow(operation.outputs, nodes)
            self._surround(operation, control_inputs)
            self._operations[operation.name] = operation
            for tensor in inputs:
                tensor._consumers.append(operation)
                if definition.stateful and tensor.op.definition.type == "VariableV2":
                    self._last_write[tensor.op] = operation.id
        return operation

    def _op_name(self, name: str) -> str:
        if not OP_NAME.match(name):
            raise ValueError(f"'{name}' is not a valid node name")
        if not name.endswith("/"):
            return self.unique_name(name)
        if name[:-1] in self._operations:
            raise ValueError(f"Duplicate node name in graph: '{name[:-1]}'")
        return name[:-1]

    def _infer(self, operation: Operation) -> Inferred:
        """Types of the outputs, remembered by definition, input types and attributes: a deep network repeats the same few."""
        definition, attrs = operation.definition, operation.attrs
        # A dtype's code stands for it in the key: strings hash faster.
        key: Any = (definition, *[(t.dtype.code, t.shape_tuple) if t.node is None else t.node for t in operation.inputs], *attrs.items())
        try:
            found = self._inferred.get(key)
        except TypeError:  # an attribute that has no hash, such as a constant's value
            key = found = None
        if found is None:
            try:
                found = definition.infer([(t.dtype, t.shape_tuple) if t.node is None else t.node for t in operation.inputs], attrs)
            except (ValueError, TypeError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(_wording(operation, error)) from error
            if key is not None:
                self._inferred[key] = found
        return found

    def _surround(self, operation: Operation, control_inputs: Iterable[Operation]) -> None:
        """Gives `operation` what the open scopes say: control inputs, device, colocation."""
        scopes = self._scopes
        given = dict.fromkeys(control_inputs)
        if scopes.control:
            given.update(dict.fromkeys(surroundings.control_inputs_for(scopes.control, {t.op for t in operation.inputs})))
            for scope in scopes.control:
                scope.seen.add(operation)
        if given:
            operation._control_inputs = tuple(given)
        operation.gradient_type = scopes.gradients.get(operation.type)
        if scopes.devices:
            operation.device = scopes.device_of(operation)
        if scopes.colocate:
            operation.colocated_with = tuple(sorted({other.name for other in scopes.colocate}))
            operation.device = scopes.colocate[-1].device or operation.device

    def last_write(self, variable: Operation) -> int:
        """The id of the last operation declared so far that may write `variable` (its "VariableV2"), 0 where there is none."""
        return self._last_write.get(variable, 0)

    # -- looking up -----------------------------------------------------------------------------------------------------------------------

    def get_operations(self) -> list[Operation]:
        """All operations in the order of their declaration."""
        return list(self._operations.values())

    def get_operation_by_name(self, name: str) -> Operation:
        """The operation called `name`; KeyError where there is none, ValueError for a tensor's name."""
        if not isinstance(name, str):
            raise TypeError(f"Operation names are strings (or similar), not {type(name).__name__}.")
        found = self.as_graph_element(name, allow_tensor=False)
        assert isinstance(found, Operation)
        return found

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor called `name` ("x:0"); KeyError where there is none, ValueError for an operation's name."""
        if not isinstance(name, str):
            raise TypeError(f"Tensor names are strings (or similar), not {type(name).__name__}.")
        found = self.as_graph_element(name, allow_operation=False)
        assert isinstance(found, Tensor)
        return found

    def as_graph_element(self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Tensor | Operation:
        """The tensor or operation that `obj` stands for: itself, its name, or what its `_as_graph_element()` gives (a variable).

        Raises KeyError for a name that is not in the graph, ValueError for an element of another graph or the wrong kind of name,
        TypeError for anything else.
        """
        kinds = [kind for kind, allowed in (("Tensor", allow_tensor), ("Operation", allow_operation)) if allowed]
        if not kinds:
            raise ValueError("allow_tensor and allow_operation can't both be False.")
        element = obj._as_graph_element() if hasattr(obj, "_as_graph_element") else obj
        if isinstance(element, str):
            return self._element_by_name(element, allow_tensor, allow_operation)
        if (isinstance(element, Tensor) and allow_tensor) or (isinstance(element, Operation) and allow_operation):
            if element.graph is not self:
                raise ValueError(f"{type(element).__name__} {element} is not an element of this graph.")
            return element
        raise TypeError(f"Can not convert a {type(obj).__name__} into a {' or '.join(kinds)}.")

    def _element_by_name(self, name: str, allow_tensor: bool, allow_operation: bool) -> Tensor | Operation:
        form = 'Tensor names must be of the form "<op_name>:<output_index>".'
        op_name, colon, index = name.partition(":")
        operation = self._operations.get(op_name)
        if colon and allow_tensor:
            if not index.isdecimal():
                raise ValueError(f"The name '{name}' looks a like a Tensor name, but is not a valid one. {form}")
            missing = f"The name '{name}' refers to a Tensor which does not exist. The operation, '{op_name}', "
            if operation is None:
                raise KeyError(f"{missing}does not exist in the graph.")
            if int(index) >= len(operation.outputs):
                raise KeyError(f"{missing}exists but only has {len(operation.outputs)} outputs.")
            return operation.outputs[int(index)]
        if colon:
            raise ValueError(f"Name '{name}' appears to refer to a Tensor, not a Operation.")
        if not allow_operation:
            if operation is not None:
                raise ValueError(f"The name '{name}' refers to an Operation, not a Tensor. {form}")
            raise ValueError(f"The name '{name}' looks like an (invalid) Operation name, not a Tensor. {form}")
        if operation is None:
            raise KeyError(f"The name '{name}' refers to an Operation not in the graph.")
        return operation

    # -- scopes ---------------------------------------------------------------------------------------------------------------------------

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """`name` inside the current name scope, with a suffix ("_1") where it is taken."""
        scope = self._scopes.name
        return self._names.unique(f"{scope}/{name}" if scope else name, mark_as_used)

    def get_name_scope(self) -> str:
        """The current name scope, "" at the root: "a/b"."""
        return self._scopes.name

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Declares inside "<scope>/<name>/", made unique, and gives that prefix.

        A name that ends in "/" re-enters a scope as it is; None or "" goes back to the root.
        """
        scopes = self._scopes
        before = scopes.name
        if name is not None and not isinstance(name, str):
            raise TypeError(f"a scope's name is a string, not {name!r}")
        if name and not (SCOPE_NAME if before else OP_NAME).match(name):
            raise ValueError(f"'{name}' is not a valid scope name")
        if not name:
            scopes.name = ""
        else:
            scopes.name = name[:-1] if name.endswith("/") else self.unique_name(name)
        try:
            yield f"{scopes.name}/" if scopes.name else ""
        finally:
            scopes.name = before

    @contextmanager
    def control_dependencies(self, control_inputs: Iterable[Any] | None) -> Iterator[None]:
        """Operations declared inside run after `control_inputs` (operations, tensors or variables); None forgets the scopes outside."""
        scopes = self._scopes
        before = scopes.control
        if control_inputs is None:
            scopes.control = []
        else:
            elements = [self.as_graph_element(each) for each in control_inputs]
            operations = dict.fromkeys(e.op if isinstance(e, Tensor) else e for e in elements)
            waited_for = {operation for scope in before for operation in scope.inputs}
            scopes.control = [*before, ControlScope([operation for operation in operations if operation not in waited_for])]
        try:
            yield
        finally:
            scopes.control = before

    @contextmanager
    def device(self, device: DeviceChoice | Any) -> Iterator[None]:
        """Puts operations declared inside on `device`: a name, a function of the operation, or None to forget the scopes outside."""
        choice = device if device is None or callable(device) else str(device)
        if isinstance(choice, str):
            surroundings.DeviceSpec.parse(choice)
        scopes = self._scopes
        before = scopes.devices
        scopes.devices = [*before, choice]
        try:
            yield
        finally:
            scopes.devices = before

    @contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """Puts operations declared inside where `op` is. None (with `ignore_existing`) forgets the scopes outside."""
        scopes = self._scopes
        before, devices = scopes.colocate, scopes.devices
        if op is None and not ignore_existing:
            raise ValueError("Trying to reset colocation (op is None) but ignore_existing is not True")
        element = None if op is None else self.as_graph_element(op)
        others = [] if ignore_existing else before
        if element is None:
            scopes.colocate = others
        else:
            scopes.colocate = [*others, element.op if isinstance(element, Tensor) else element]
            scopes.devices = []
        try:
            yield
        finally:
            scopes.colocate, scopes.devices = before, devices

    @contextmanager
    def gradient_override_map(self, op_type_map: Mapping[str, str]) -> Iterator[None]:
        """Operations declared inside, of a type among the keys, have the gradient that `RegisterGradient` knows by the value.

        Inner maps add to outer ones. TypeError unless it is a dictionary from strings to strings.
        """
        pairs = op_type_map.items() if isinstance(op_type_map, dict) else [(None, None)]
        if not all(isinstance(each, str) for pair in pairs for each in pair):
            raise TypeError("op_type_map must be a dictionary mapping strings to strings")
        scopes = self._scopes
        before = scopes.gradients
        scopes.gradients = {**before, **op_type_map}
        try:
            yield
        finally:
            scopes.gradients = before

    # -- collections ----------------------------------------------------------------------------------------------------------------------

    def add_to_collection(self, name: Any, value: Any) -> None:
        self._check_not_finalized()
        self._collections.add((name,), value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Adds to several collections (or to one, given as a string), to each once."""
        self._check_not_finalized()
        self._collections.add((names,) if isinstance(names, str) else dict.fromkeys(names), value)

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """A copy of the collection; with `scope`, only items whose names that regular expression matches from the start."""
        return self._collections.get(name, scope)

    def get_collection_ref(self, name: Any) -> list[Any]:
        return self._collections.ref(name)

    def get_all_collection_keys(self) -> list[Any]:
        return self._collections.keys()

    @property
    def collections(self) -> list[Any]:
        return self._collections.keys()

    def clear_collection(self, name: Any) -> None:
        self._check_not_finalized()
        self._collections.clear(name)

    # -- the graph as a whole -------------------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """A number that grows with every operation: their count."""
        return len(self._operations)

    @property
    def finalized(self) -> bool:
        return self._finalized

    def finalize(self) -> None:
        """Makes the graph read-only: declaring in it raises RuntimeError from now on."""
        self._finalized = True

    def _unsafe_unfinalize(self) -> None:
        self._finalized = False

    def _check_not_finalized(self) -> None:
        if self._finalized:
            raise RuntimeError("Graph is finalized and cannot be modified.")

    if TYPE_CHECKING:  # installed by graphc.exports, which knows the viewers
        def as_graph_def(self, from_version: int | None = None, add_shapes: bool = False) -> Any: ...
        def to_networkx(self) -> Any: ...

    def as_default(self) -> AbstractContextManager[Graph]:
        """`with graph.as_default():` declares into this graph, on this thread."""
        return _default_graphs.pushed(self)

    def prevent_feeding(self, tensor: Tensor) -> None:
        self._not_feedable.add(tensor)

    def is_feedable(self, tensor: Tensor) -> bool:
        return tensor not in self._not_feedable

    def prevent_fetching(self, op: Operation) -> None:
        self._not_fetchable.add(op)

    def is_fetchable(self, tensor_or_op: Tensor | Operation) -> bool:
        op = tensor_or_op.op if isinstance(tensor_or_op, Tensor) else tensor_or_op
        return op not in self._not_fetchable


def _follow(outputs: Sequence[Tensor], nodes: Sequence[Node]) -> None:
    """Keeps the node of every small integer output: a shape may be computed from it."""
    for tensor, node in zip(outputs, nodes, strict=True):
        if tensor.dtype.is_integer and node.type.is_static and node.type.rank <= 2 and node.type.size <= FOLLOWED_ELEMENTS:
            tensor.node = node


def _wording(operation: Operation, error: Exception) -> str:
    """TF1's sentence, and the lines that say where."""
    shapes = ", ".join(in_brackets(t.shape_tuple) for t in operation.inputs)
    where = f"'{operation.name}' (op: '{operation.type}')"
    if isinstance(error, ValueError):
        lines = [f"{str(error).removesuffix('.')} for {where} with input shapes: {shapes}."]
    else:
        lines = [str(error), f"  in operation {where}"]
    lines.append(f"  declared at {operation.source_line.describe()}")
    if operation.gradient_of is not None:
        lines.append(f"  as gradient of '{operation.gradient_of.name}', declared at {operation.gradient_of.source_line.describe()}")
    return "\n".join(lines)


_default_graphs: DefaultStack[Graph] = DefaultStack()
_global_graph = Graph()


def get_default_graph() -> Graph:
    """The graph that declarations go to: the innermost `as_default` of this thread, else the global one."""
    return _default_graphs.top or _global_graph


def reset_default_graph() -> None:
    """Starts a new global graph; AssertionError inside a `with graph.as_default()`."""
    global _global_graph
    if _default_graphs.top is not None:
        raise AssertionError("Do not use reset_default_graph() to clear nested graphs. If you need a cleared graph, exit the nesting and "
                             "create a new graph.")
    _global_graph = Graph()
