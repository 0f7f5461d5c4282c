"""Misspelled names: the nearest one that exists is named in the error. Serves attributes of operations and the public modules."""
from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from types import ModuleType


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the nearest of the names `known`, or nothing where none is near."""
    by_lower = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), by_lower, 1)
    return f"; did you mean '{by_lower[found[0]]}'?" if found else ""


def suggest_names(*modules: ModuleType) -> None:
    """Makes an AttributeError of each module name the nearest of its public names."""
    for module in modules:
        module.__dict__["__getattr__"] = _refusing(module)


def _refusing(module: ModuleType) -> object:
    def refuse(name: str) -> object:
        known = [each for each in vars(module) if not each.startswith("_")]
        hint = "" if name.startswith("_") else nearest(name, known)
        raise AttributeError(f"module '{module.__name__}' has no attribute '{name}'{hint}", name=name, obj=module)
    return refuse
