"""Values of several tensors that users handle as one, such as a sparse tensor: what feeding and fetching must know of them."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from graphc.core.operation import Tensor


class CompositeTensor(ABC):
    """A value made of tensors. As a fetch it gives `value_of` their values; as a key of `feed_dict` it takes such a value."""

    @property
    @abstractmethod
    def components(self) -> tuple[Tensor, ...]:
        """The tensors, in the order of the value's fields."""

    @abstractmethod
    def value_of(self, values: Sequence[Any]) -> Any:
        """What a run gives for it, made of the values of `components`."""

    @property
    def fed(self) -> tuple[Tensor, ...]:
        """The components that a feed may set: those that are no constants of the graph."""
        return tuple(t for t in self.components if t.op.graph.is_feedable(t))
