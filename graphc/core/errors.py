"""The errors a user meets, under TensorFlow 1's names, and the one helper that words them.

Mistakes that are visible when the graph is declared are ValueError (shapes, names) or TypeError (dtypes), as in TF1. What can only go wrong
when a graph runs is an `OpError`. Either way the text has at most five lines: operation, rule, values, and the user's line.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphc.core.operation import Operation

# Status codes, numbered as in TF1's `tf.errors`.
OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED = range(8)
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE = range(8, 12)
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED = range(12, 17)


class OpError(Exception):
    """An error of a running graph. `op`: the Operation it concerns (or None); `message`: its text; `error_code`: a number from above."""

    code = UNKNOWN

    def __init__(self, node_def: Any, op: Any, message: str, error_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.node_def = node_def
        self.op = op
        self.error_code = self.code if error_code is None else error_code

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Any:
        # A graph does not travel between processes; the text does.
        return type(self), (None, None, self.message) if type(self) is not OpError else (None, None, self.message, self.error_code)


class CancelledError(OpError):
    code = CANCELLED


class UnknownError(OpError):
    code = UNKNOWN


class InvalidArgumentError(OpError):
    """A fed or computed value breaks an operation's rule."""

    code = INVALID_ARGUMENT


class DeadlineExceededError(OpError):
    code = DEADLINE_EXCEEDED


class NotFoundError(OpError):
    code = NOT_FOUND


class AlreadyExistsError(OpError):
    code = ALREADY_EXISTS


class PermissionDeniedError(OpError):
    code = PERMISSION_DENIED


class ResourceExhaustedError(OpError):
    """Not enough memory for what was asked."""

    code = RESOURCE_EXHAUSTED


class FailedPreconditionError(OpError):
    """The state is not ready: usually an uninitialised variable."""

    code = FAILED_PRECONDITION


class AbortedError(OpError):
    code = ABORTED


class OutOfRangeError(OpError):
    code = OUT_OF_RANGE


class UnimplementedError(OpError):
    code = UNIMPLEMENTED


class InternalError(OpError):
    code = INTERNAL


class UnavailableError(OpError):
    code = UNAVAILABLE


class DataLossError(OpError):
    code = DATA_LOSS


class UnauthenticatedError(OpError):
    code = UNAUTHENTICATED


class OperatorNotAllowedInGraphError(TypeError):
    """A Python construct (`if`, `for`, `in`) needed the value of a graph tensor."""


def explain(operation: Operation | None, problem: str, values: str = "", source: str = "") -> str:
    """The text of an error, at most five lines: the broken rule, the operation, the values, the user's line, the forward line.

    `source` is the user's line where there is no operation yet.
    """
    lines = [problem]
    if operation is not None:
        lines.append(f"  in operation '{operation.name}' ({operation.type})")
        source = operation.source_line.describe()
    lines += [f"  {values}"] if values else []
    lines += [f"  declared at {source}"] if source else []
    forward = operation.gradient_of if operation is not None else None
    lines += [f"  as gradient of '{forward.name}', declared at {forward.source_line.describe()}"] if forward is not None else []
    return "\n".join(lines)
