"""Which steps share a launch: never two whose order matters, and as many small ones as can."""
from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from graphc.codegen.gpu import gpu_for
from graphc.codegen.parse import parse_kernel
from graphc.codegen.pointer import Pointer
from graphc.runtime.merging import MOST_BODIES, Access, is_small, together

RANGE = st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(1, 4)).map(lambda r: (r[0], r[1], r[1] + r[2]))
RANGES = st.lists(RANGE, min_size=1, max_size=2).map(tuple)
ACCESS = st.builds(Access, st.just((Pointer(0),)), st.lists(RANGE, max_size=3).map(tuple), RANGES)


def touched(access: Access, ranges: str) -> set[tuple[int, int]]:
    """Byte by byte, what the ranges cover."""
    return {(slot, byte) for slot, begin, end in getattr(access, ranges) for byte in range(begin, end)}


def order_matters(a: Access, b: Access) -> bool:
    written = touched(a, "writes") & touched(b, "writes")
    return bool(written or touched(a, "reads") & touched(b, "writes") or touched(a, "writes") & touched(b, "reads"))


@given(st.lists(st.tuples(ACCESS, st.booleans()), max_size=14))
def test_every_order_that_matters_is_kept(steps: list[tuple[Access, bool]]) -> None:
    accesses, small = [access for access, _ in steps], [flag for _, flag in steps]
    launches = together(accesses, small)
    assert sorted(number for launch in launches for number in launch) == list(range(len(steps)))
    where = {number: position for position, launch in enumerate(launches) for number in launch}
    for first, second in combinations(range(len(steps)), 2):
        if order_matters(accesses[first], accesses[second]):
            assert where[first] < where[second], f"steps {first} and {second} touch common memory"
    assert all(len(launch) == 1 or all(small[number] for number in launch) for launch in launches)


def own(*numbers: int) -> list[Access]:
    return [Access((Pointer(0, n),), (), ((0, n, n + 1),)) for n in numbers]


def test_independent_updates_share_launches_up_to_a_bound() -> None:
    launches = together(own(*range(MOST_BODIES + 3)), [True] * (MOST_BODIES + 3))
    assert [len(launch) for launch in launches] == [MOST_BODIES, 3]


def test_a_step_passes_those_it_does_not_need() -> None:
    a, b, c = own(1, 2, 3)
    assert together([a, b, c], [True, False, True]) == [[0, 2], [1]]
    reader = Access((), ((0, 2, 3),), ((0, 9, 10),))  # of what b writes
    assert together([a, b, reader], [True, False, True]) == [[0], [1], [2]]


def test_what_is_too_large_or_needs_a_barrier_stays_alone() -> None:
    gpu = gpu_for("sm_90")

    def small(grid: str, inner: str = "y[i] = 1.0_f32") -> bool:
        return is_small(parse_kernel(f"kernel k(y: f32[9000000] out) {{\n  for i in {grid} {{\n    {inner}\n  }}\n}}"), gpu)

    assert small("1000 grid(256, 1)")
    assert not small("9000000 grid(256, 4)")
    assert not small("10 grid(1, 1)", "for j in 100 team(256, 1) {\n y[i * 100 + j] = 1.0_f32\n }")
    assert small("10 grid(8, 1)", "for j in 100 team(32, 1) {\n y[i * 100 + j] = 1.0_f32\n }")


def test_parameters_are_read_or_written_by_their_space() -> None:
    kernel = parse_kernel("kernel k(x: f32[4] in, v: f32[2] inout, y: f32[4] out) {\n  for i in 4 grid(4, 1) {\n    y[i] = x[i]\n  }\n}")
    access = Access.of(kernel, (Pointer(3), Pointer(4, 64), Pointer(0, 128)))
    assert access.reads == ((3, 0, 16), (4, 64, 72))
    assert access.writes == ((4, 64, 72), (0, 128, 144))
