"""Whether what is compiled is to be verified, and the way to what does it: loaded when first asked for, as most sessions never do."""
from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

Results = tuple[list[np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]  # outputs, and the new values of the written variables
Tell = Callable[[str], None]


def wanted(asked: bool | None = None) -> bool:
    """Whether compilations are to be verified: as a session `asked`, or where it leaves that open as the environment does."""
    return os.environ.get("GRAPHC_VERIFY", "") not in ("", "0") if asked is None else asked


def silent(_: str) -> None:
    """Tells nobody."""


def check() -> Any:
    """`graphc.runtime.check`."""
    return importlib.import_module("graphc.runtime.check")


def bisecting() -> Any:
    """`graphc.runtime.bisecting`."""
    return importlib.import_module("graphc.runtime.bisecting")
