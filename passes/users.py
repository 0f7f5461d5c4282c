"""Passes of one's own: what is asked of them, and `map_nodes` and `replace_nodes` to write them with.

A pass is any function Program -> Program. `pipelines.run_pipeline` runs those of this room as they are, and a user's through `guarded`:
what comes back is verified, so that a wrong one is reported by its name and left out, as one that raises is.
"""
from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from graphc.core.program import Node, Program, inherit, make, substitute
from graphc.core.verify import verify
from graphc.passes.record import note_forms
from graphc.passes.rewrite import Rewrite

FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)  # what a pass of the house may raise
_PACKAGE = str(Path(__file__).parents[1])


class PassFailed(RuntimeError):
    """A user's pass raised, or what it gave is no valid Program in place of the one before: the message says why, and where it raised."""


def map_nodes(program: Program, function: Callable[[Node], Node | None]) -> Program:
    """`program` with each node replaced by what `function` gives for it, None for the node itself.

    Operands come first, and `function` sees every node over the new forms of its operands. A replacement must have the node's type:
    TypeError otherwise. Origins go over to replacements (`Program.rewritten`), and a Program in which nothing changes is given back itself.
    """
    new: dict[Node, Node] = {}
    for node in program.nodes:
        operands = tuple(new[operand] for operand in node.operands)
        same = node if operands == node.operands else make(node.primitive, operands, node.attrs)
        made = function(same)
        if made is None:
            made = same
        if not isinstance(made, Node):
            raise TypeError(f"a node must be replaced by a node or None; {same!r} was by a {type(made).__name__}")
        if made.types != node.types:
            raise TypeError(f"{same!r} was replaced by another type: {', '.join(map(str, made.types))}")
        new[node] = made
    note_forms(new)
    changed = {old: made for old, made in new.items() if made is not old}
    return program.rewritten(changed) if changed else program


def replace_nodes(program: Program, replacements: Mapping[Node, Node]) -> Program:
    """`program` with the keys replaced by their values, and what reads them rebuilt. Below the values nothing is replaced, so that a node
    may be replaced by what is made of it.

    TypeError where a value is of another type than its key. Origins go over to the values.
    """
    for old, made in replacements.items():
        if made.types != old.types:
            raise TypeError(f"{old!r} was replaced by another type: {', '.join(map(str, made.types))}")
    new = substitute((*program.outputs, *program.effects), replacements)
    note_forms(new)
    return program.rewritten(new)


def is_ours(apply: Callable[[Program], Program]) -> bool:
    """Whether a pass is this room's: of a table of rules, whether all of them are."""
    parts = [rule.apply for rule in apply.rules] if isinstance(apply, Rewrite) else [apply]
    return all(str(getattr(part, "__module__", "")).startswith("graphc.passes.") for part in parts)


def as_run(apply: Callable[[Program], Program]) -> Callable[[Program], Program]:
    """`apply` so that only what a pass may raise comes of it: a user's function is guarded. A table of rules stays one."""
    return apply if isinstance(apply, Rewrite) or is_ours(apply) else functools.partial(guarded, apply)


def guarded(apply: Callable[[Program], Program], before: Program) -> Program:
    """What `apply` makes of `before`; PassFailed where that is no valid Program that can stand in its place."""
    try:
        after = apply(before)
    except Exception as error:  # the user's code
        if isinstance(apply, Rewrite) and isinstance(error, FAILURES):
            raise  # the engine has said which rule it was
        raise PassFailed(f"it raised {type(error).__name__}{_place(error)}: {error}") from error
    if not isinstance(after, Program):
        raise PassFailed(f"it gave {'None' if after is None else f'a {type(after).__name__}'}, not a Program")
    try:
        verify(after)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # a Program of what are no nodes, too
        raise PassFailed(f"it made an invalid program: {error}") from error
    _same_face(before, after)
    return _with_origins(before, after)


def _with_origins(before: Program, after: Program) -> Program:
    """`after` with the origins that it left behind: those of nodes that stayed, and of outputs and effects that others stand for now."""
    lost = [node for node in after.nodes if node in before.origins and node not in after.origins]
    ends = [(old, new) for old, new in zip((*before.outputs, *before.effects), (*after.outputs, *after.effects), strict=False)
            if old in before.origins and new not in after.origins]
    if not lost and not ends:
        return after
    origins = {**after.origins, **{node: before.origins[node] for node in lost}}
    for old, new in ends:
        inherit(new, before.origins[old], origins)
    return replace(after, origins=origins)


def _place(error: Exception) -> str:
    """Where a user's code raised: the innermost line outside of graphc, where there is one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_PACKAGE)]
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _same_face(before: Program, after: Program) -> None:
    """What a session hands in and takes out must stay: parameters, and the types of outputs and of written variables."""
    if before.parameters != after.parameters:
        raise PassFailed("it changed the parameters")
    given, made = ([str(output.type) for output in program.outputs] for program in (before, after))
    if given != made:
        raise PassFailed(f"it changed the types of the outputs from {', '.join(given) or 'none'} to {', '.join(made) or 'none'}")
    for variable, type_ in after.variables.items():
        if before.variables.get(variable) != type_:
            raise PassFailed(f"it uses a variable {variable} of type {type_}, which the program before does not")
    written, now = ({node.attrs.variable for node in program.effects} for program in (before, after))
    if written != now:
        lost = sorted(written - now)
        raise PassFailed(f"it {'no longer writes' if lost else 'also writes'} variable {(lost or sorted(now - written))[0]}")
