"""What one `Session.run` costs beside its work: a fetch of x + 1 with one small feed, asked in several ways.

Stands outside the package. Prints medians in microseconds; the goal is below 5 for the first line. Run it on an idle machine.

    python benchmarks/overhead.py
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from time import perf_counter

import numpy as np

import graphc as gc

CALLS, ROUNDS = 200, 200
GOAL = 5.0  # microseconds


def cases() -> dict[str, Callable[[], object]]:
    """Ways of asking for small results, each ready for the fast path."""
    x, k = gc.placeholder(gc.float32, [4], name="x"), gc.placeholder(gc.float32, [], name="k")
    y, scaled = gc.add(x, 1.0, name="y"), gc.multiply(x, k)
    v = gc.Variable(0.0)
    count = v.assign_add(1.0)
    session = gc.Session()
    session.run(v.initializer)
    fed, factor, wide = np.ones(4, np.float32), np.array(3.0, np.float32), np.ones(4)
    call = session.make_callable(y, [x])
    return {
        "run(x + 1) with one feed": lambda: session.run(y, {x: fed}),
        "the same as a list of one": lambda: session.run([y], {x: fed}),
        "the same by name": lambda: session.run("y:0", {"x:0": fed}),
        "the same by make_callable": lambda: call(fed),
        "two feeds, two fetches": lambda: session.run([y, scaled], {x: fed, k: factor}),
        "a Python float as second feed": lambda: session.run(scaled, {x: fed, k: 3.0}),
        "a feed that must be converted": lambda: session.run(y, {x: wide}),
        "a list as feed": lambda: session.run(y, {x: [1.0, 2.0, 3.0, 4.0]}),
        "a counter (assign_add)": lambda: session.run(count),
        "an operation": lambda: session.run(count.op),
    }


def microseconds(call: Callable[[], object]) -> float:
    """The median over rounds of the mean over calls."""
    call(), call()
    rounds = []
    for _ in range(ROUNDS):
        start = perf_counter()
        for _ in range(CALLS):
            call()
        rounds.append((perf_counter() - start) / CALLS * 1e6)
    return float(np.median(rounds))


def main() -> None:
    warnings.simplefilter("ignore", UserWarning)  # the slow feeds are slow on purpose
    for number, (name, call) in enumerate(cases().items()):
        measured = microseconds(call)
        verdict = ("" if number else f"   goal: {GOAL:.0f}, " + ("met" if measured < GOAL else "MISSED"))
        print(f"{name:32}{measured:8.2f} us{verdict}")


if __name__ == "__main__":
    main()
