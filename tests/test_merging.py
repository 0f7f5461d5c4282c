"""Which steps share a launch: never two whose order matters, and as many small ones as can."""
from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from graphc.codegen.gpu import gpu_for
from graphc.codegen.parse import parse_kernel
from graphc.codegen.pointer import Pointer
from graphc.runtime.merging import MOST_BODIES, Access, Shape, shape_of, together

RANGE = st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(1, 4)).map(lambda r: (r[0], r[1], r[1] + r[2]))
RANGES = st.lists(RANGE, min_size=1, max_size=2).map(tuple)
ACCESS = st.builds(Access, st.just((Pointer(0),)), st.lists(RANGE, max_size=3).map(tuple), RANGES)


def touched(access: Access, ranges: str) -> set[tuple[int, int]]:
    """Byte by byte, what the ranges cover."""
    return {(slot, byte) for slot, begin, end in getattr(access, ranges) for byte in range(begin, end)}


def order_matters(a: Access, b: Access) -> bool:
    written = touched(a, "writes") & touched(b, "writes")
    return bool(written or touched(a, "reads") & touched(b, "writes") or touched(a, "writes") & touched(b, "reads"))


SHAPE = st.builds(Shape, st.sampled_from((32, 256)), st.sampled_from((0, 0, 4096)))


@given(st.lists(st.tuples(ACCESS, st.none() | SHAPE), max_size=14))
def test_every_order_that_matters_is_kept(steps: list[tuple[Access, Shape | None]]) -> None:
    accesses, shapes = [access for access, _ in steps], [shape for _, shape in steps]
    launches = together(accesses, shapes)
    assert sorted(number for launch in launches for number in launch) == list(range(len(steps)))
    where = {number: position for position, launch in enumerate(launches) for number in launch}
    for first, second in combinations(range(len(steps)), 2):
        if order_matters(accesses[first], accesses[second]):
            assert where[first] < where[second], f"steps {first} and {second} touch common memory"
    for launch in launches:
        members = [shapes[number] for number in launch]
        if len(launch) > 1:
            assert all(members)
            waits = any(member is not None and member.shared_bytes for member in members)
            assert not waits or len({member.threads for member in members if member is not None}) == 1


FLAT = Shape(256)


def own(*numbers: int) -> list[Access]:
    return [Access((Pointer(0, n),), (), ((0, n, n + 1),)) for n in numbers]


def test_independent_updates_share_launches_up_to_a_bound() -> None:
    launches = together(own(*range(MOST_BODIES + 3)), [FLAT] * (MOST_BODIES + 3))
    assert [len(launch) for launch in launches] == [MOST_BODIES, 3]


def test_a_step_passes_those_it_does_not_need() -> None:
    a, b, c = own(1, 2, 3)
    assert together([a, b, c], [FLAT, None, FLAT]) == [[0, 2], [1]]
    reader = Access((), ((0, 2, 3),), ((0, 9, 10),))  # of what b writes
    assert together([a, b, reader], [FLAT, None, FLAT]) == [[0], [1], [2]]


def test_kernels_with_barriers_want_blocks_of_their_own_size_and_little_shared_memory() -> None:
    waiting = Shape(128, 6000)
    assert Shape(128).fits([waiting])
    assert waiting.fits([Shape(128), waiting])
    assert not waiting.fits([waiting, waiting]), "too much shared memory"
    assert not Shape(256).fits([waiting])
    assert Shape(256).fits([Shape(32)])


def test_what_is_too_large_stays_alone() -> None:
    gpu = gpu_for("sm_90")

    def shape(grid: str, inner: str = "y[i] = 1.0_f32") -> Shape | None:
        return shape_of(parse_kernel(f"kernel k(y: f32[9000000] out) {{\n  for i in {grid} {{\n    {inner}\n  }}\n}}"), gpu)

    row = "for j in 100 team({}, 1) {{\n y[i * 100 + j] = 1.0_f32\n }}"
    total = "acc s: f32 = 0.0_f32\n for j in 100 {}(16, 1) {{\n s add= 1.0_f32\n }}\n y[i] = s"
    assert shape("1000 grid(256, 1)") == Shape(256)
    assert shape("9000000 grid(256, 4)") is None
    assert shape("10 grid(8, 1)", row.format(32)) == Shape(256)
    assert shape("10 grid(16, 1)", total.format("team")) == Shape(256), "a warp's totals go by shuffles"
    assert shape("10 grid(16, 2)", total.format("cross")) == Shape(256, 256 * 2 * 4)
    assert shape("10 grid(1, 1)", "shared r: f32[50]\n r[0] = 1.0_f32\n y[i] = r[0]") == Shape(1, 200)


def test_parameters_are_read_or_written_by_their_space() -> None:
    kernel = parse_kernel("kernel k(x: f32[4] in, v: f32[2] inout, y: f32[4] out) {\n  for i in 4 grid(4, 1) {\n    y[i] = x[i]\n  }\n}")
    access = Access.of(kernel, (Pointer(3), Pointer(4, 64), Pointer(0, 128)))
    assert access.reads == ((3, 0, 16), (4, 64, 72))
    assert access.writes == ((4, 64, 72), (0, 128, 144))
