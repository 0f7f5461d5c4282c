"""The two things a graph is made of: `Operation` and its outputs, `Tensor`. `Graph.create_op` makes both.

Operators (`x + y`, `x[0]`) are installed on Tensor by `graphc.ops` through `Tensor._override_operator`, so this room need not know them.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.errors import OperatorNotAllowedInGraphError
from graphc.core.opdef import OpDef
from graphc.core.program import Node
from graphc.core.scopes import get_default_session
from graphc.core.shapes import TensorShape, as_dims, check_equal_shapes
from graphc.core.source import SourceLine
from graphc.core.types import Dims, merge_dims, show_dims

if TYPE_CHECKING:
    from graphc.core.graph import Graph

_ARITHMETIC = ("add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
_OTHERS = ("lt", "le", "gt", "ge", "eq", "ne", "invert", "neg", "abs", "getitem")
OPERATORS = frozenset(f"__{name}__" for name in (*_ARITHMETIC, *("r" + each for each in _ARITHMETIC), *_OTHERS))


class Operation:
    """One operation of a graph. `id` counts up in the order of declaration, which is also the order of effects on variables."""

    __slots__ = ("__weakref__", "_control_inputs", "attrs", "colocated_with", "definition", "device", "gradient_of", "gradient_type",
                 "graph", "id", "inputs", "name", "outputs", "source_line")

    def __init__(self, graph: Graph, number: int, name: str, definition: OpDef, inputs: tuple[Tensor, ...], attrs: Mapping[str, Any],
                 source_line: SourceLine, gradient_of: Operation | None) -> None:
        self.graph = graph
        self.id = number
        self.name = name
        self.definition = definition
        self.inputs = inputs
        self.attrs = attrs
        self.source_line = source_line
        self.gradient_of = gradient_of
        self.outputs: tuple[Tensor, ...] = ()
        self.device = ""
        self.colocated_with: tuple[str, ...] = ()
        self.gradient_type: str | None = None  # the registered gradient that takes the place of its own
        self._control_inputs: tuple[Operation, ...] = ()

    @property
    def type(self) -> str:
        """TF1's name of the operation type: "MatMul"."""
        return self.definition.type

    @property
    def control_inputs(self) -> tuple[Operation, ...]:
        """The operations that run before this one without giving it a value."""
        return self._control_inputs

    @property
    def source(self) -> str:
        """The user's file and line: "train.py:12"."""
        return str(self.source_line)

    def get_attr(self, name: str) -> Any:
        """The attribute called `name`; ValueError where there is none."""
        try:
            return self.attrs[name]
        except KeyError:
            raise ValueError(f"Operation '{self.name}' has no attr named '{name}'.") from None

    def values(self) -> tuple[Tensor, ...]:
        return self.outputs

    def colocation_groups(self) -> list[bytes]:
        return [f"loc:@{name}".encode() for name in self.colocated_with or (self.name,)]

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Runs this operation in `session`, or in the default one; ValueError where there is none."""
        _session_for("execute operation", "run()", "operation", self.graph, session).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<graphc.Operation '{self.name}' type={self.type}>"


class Operators:
    """The operators of tensors and variables: `graphc.ops` installs them, type checkers know them from here."""

    __slots__ = ()

    if TYPE_CHECKING:  # installed by graphc.ops
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...


class Tensor(Operators):
    """One output of an operation: a value that exists when the graph runs.

    `shape_tuple` is the shape as plain dims (None: unknown rank). `node` is what is known of a small integer value (see
    `graphc.core.static`), so that later shapes can be worked out when they are declared.
    """

    __slots__ = ("__weakref__", "_consumers", "dtype", "node", "op", "shape_tuple", "value_index")

    # numpy must leave `array + tensor` to Tensor.__radd__.
    __array_priority__ = 100
    OVERLOADABLE_OPERATORS: ClassVar[frozenset[str]] = OPERATORS
    assign: ClassVar[property]  # of a slice of a variable: installed by graphc.ops

    def __init__(self, op: Operation, value_index: int, dtype: DType, shape: Dims | None, node: Node | None = None) -> None:
        self.op = op
        self.value_index = value_index
        self.dtype = dtype
        self.shape_tuple = shape
        self.node = node
        self._consumers: list[Operation] = []

    @property
    def name(self) -> str:
        """`<operation>:<output>`: "x:0"."""
        return f"{self.op.name}:{self.value_index}"

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def device(self) -> str:
        return self.op.device

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self.shape_tuple)

    def get_shape(self) -> TensorShape:
        return self.shape

    @property
    def rank(self) -> int | None:
        """The number of dims, None where it is not known."""
        return None if self.shape_tuple is None else len(self.shape_tuple)

    def set_shape(self, shape: Any) -> None:
        """Adds what is known of the shape; ValueError where it contradicts what was known."""
        dims = as_dims(shape)
        if dims is None:
            return
        if self.shape_tuple is None:
            self.shape_tuple = dims
            return
        try:
            check_equal_shapes(self.shape_tuple, dims)
        except ValueError as error:
            raise ValueError(f"{error}\n  set_shape of tensor '{self.name}', declared at {self.op.source_line.describe()}") from None
        self.shape_tuple = merge_dims(self.shape_tuple, dims)

    def consumers(self) -> list[Operation]:
        """The operations that read this tensor, in order, once for each time they do."""
        return list(self._consumers)

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """This tensor's value in `session`, or in the default one; ValueError where there is none."""
        return _session_for("evaluate tensor", "eval()", "tensor", self.graph, session).run(self, feed_dict)

    @staticmethod
    def _override_operator(operator: str, function: Callable[..., Any]) -> None:
        """Installs `function` as `operator` ("__add__") of all tensors; ValueError for one that may not be overloaded."""
        if operator not in OPERATORS:
            raise ValueError(f"Overriding {operator} is disallowed")
        setattr(Tensor, operator, function)

    def __bool__(self) -> bool:
        raise OperatorNotAllowedInGraphError(_no_python("using a `Tensor` as a Python `bool`", self, "Use graphc.where."))

    def __iter__(self) -> Iterator[Any]:
        raise OperatorNotAllowedInGraphError(_no_python("iterating over `Tensor`", self, "Use graphc.unstack."))

    def __len__(self) -> int:
        raise TypeError(f"len is not well defined for symbolic Tensors. ({self.name}) Please call `x.shape` rather than `len(x)` for shape "
                        f"information.")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        raise TypeError(f"Cannot convert a symbolic Tensor ({self.name}) to a numpy array: run it in a session.")

    def __float__(self) -> float:
        raise TypeError(f"Cannot convert a symbolic Tensor ({self.name}) to a Python number: run it in a session.")

    def __int__(self) -> int:
        raise TypeError(f"Cannot convert a symbolic Tensor ({self.name}) to a Python number: run it in a session.")

    def __str__(self) -> str:
        shape = "" if self.shape_tuple is None else f", shape={show_dims(self.shape_tuple)}"
        return f'Tensor("{self.name}"{shape}, dtype={self.dtype.name})'

    def __repr__(self) -> str:
        return f"<graphc.Tensor '{self.name}' shape={show_dims(self.shape_tuple)} dtype={self.dtype.name}>"


def _no_python(what: str, tensor: Tensor, instead: str) -> str:
    return f"{what} is not allowed in Graph execution. {instead}\n  tensor '{tensor.name}' declared at {tensor.op.source_line.describe()}"


def _session_for(what: str, call: str, thing: str, graph: Graph, session: Any) -> Any:
    """The session to use, checked to be one of `graph`."""
    chosen = get_default_session() if session is None else session
    if chosen is None:
        raise ValueError(f"Cannot {what} using `{call}`: No default session is registered. Use `with sess.as_default()` or pass an "
                         f"explicit session to `{call[:-1]}session=sess)`")
    if chosen.graph is not graph:
        whose = "default session" if session is None else "given session"
        raise ValueError(f"Cannot use the {whose} to {what}: the {thing}'s graph is different from the session's graph. Pass an explicit "
                         f"session to `{call[:-1]}session=sess)`.")
    return chosen
