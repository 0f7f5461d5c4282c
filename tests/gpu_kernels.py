"""Kernels for a GPU written by hand: every kind of loop, every way in which a thread's work can end early, as kernel IR text.

Data, not tests: `tests/test_cuda_printer.py` prints them as CUDA C and holds what they compute against the interpreter of the kernel IR.
"""
from __future__ import annotations

# Kernels by name. Values of inputs are small whole numbers or multiples of 1/4, see `arguments` in the tests.
KERNELS: dict[str, str] = {}


def _add(text: str) -> None:
    KERNELS[text.split("(")[0].removeprefix("kernel").strip()] = text


def _row(name: str, lanes: int, team: int, parts: int, rows: int, columns: int) -> str:
    """Softmax over rows, kept in registers."""
    return f"""kernel {name}(x: f32[{rows},{columns}] in, y: f32[{rows},{columns}] out, total: f32[{rows}] out) {{
      for i in {rows} grid({lanes}, 1) {{
        acc m: f32 = -inf_f32
        local row: f32[{columns}]
        for j in {columns} team({team}, {parts}) {{
          let e: f32 = x[i, j]
          row[j] = e
          m maximum= e
        }}
        acc s: f32 = 0.0_f32
        for j in {columns} team({team}, {parts}) {{
          let p: f32 = exponential(row[j] - m)
          row[j] = p
          s add= p
        }}
        for j in {columns} team({team}, {parts}) {{
          y[i, j] = row[j] / s
        }}
        total[i] = s
      }}
    }}"""


for _args in (
    ("row_warp", 4, 32, 4, 6, 256), ("row_warp_tail", 4, 32, 4, 5, 300), ("row_odd", 2, 32, 4, 3, 130), ("row_small", 8, 4, 2, 13, 10),
    ("row_one", 4, 1, 1, 7, 3), ("row_one_parts", 4, 1, 4, 7, 12), ("row_block", 1, 128, 4, 3, 1000), ("row_block_short", 1, 256, 1, 2, 70),
    ("row_two_blocks", 2, 64, 2, 5, 250), ("row_single", 8, 16, 1, 1, 1), ("row_odd_warps", 2, 64, 4, 3, 333),
):  # fmt: skip
    _add(_row(*_args))


def _column(name: str, lanes: int, parts: int, team: int, rows: int, columns: int, dtype: str = "f32") -> str:
    """Sum and largest of columns."""
    start = "-inf" if "f" in dtype else "-128"
    return f"""kernel {name}(x: {dtype}[{rows},{columns}] in, y: {dtype}[{columns}] out, z: {dtype}[{columns}] out) {{
      for i in {columns} grid({lanes}, {parts}) {{
        acc s: {dtype} = 0{".0" if "f" in dtype else ""}_{dtype}
        acc m: {dtype} = {start}_{dtype}
        for r in {rows} cross({team}, 1) {{
          let e: {dtype} = x[r, i]
          s add= e
          m maximum= e
        }}
        y[i] = s + m
        z[i] = m
      }}
    }}"""


for _args in (
    ("column_parts", 32, 4, 8, 50, 256), ("column_tail", 8, 1, 16, 70, 33), ("column_parts_tail", 8, 4, 4, 20, 100),
    ("column_odd_parts", 4, 4, 4, 21, 37), ("column_one", 8, 1, 1, 5, 11), ("column_short", 32, 2, 8, 3, 6),
):  # fmt: skip
    _add(_column(*_args))
_add(_column("column_bytes", 8, 16, 4, 20, 256, "i8"))

_add("""kernel flat(x: f32[1003] in, y: f32[1003] out) {
  for n in 1003 grid(32, 1) {
    y[n] = x[n] * 2.0_f32
  }
}""")
_add("""kernel flat_parts(x: f32[1024] in, s: f32[] in, y: f32[1024] out) {
  for n in 1024 grid(64, 4) {
    y[n] = tanh(x[n]) * s[]
  }
}""")
_add("""kernel flat_parts_tail(x: f32[1003] in, w: f32[1003] in, y: f32[1003] out) {
  for n in 1003 grid(64, 4) {
    y[n] = x[n] + w[n]
  }
}""")
_add("""kernel flat_wide(x: f32[1024] in, h: bf16[1024] in, y: f32[1024] out, z: f16[1024] out) {
  for n in 1024 grid(32, 8) {
    let t: f32 = convert(h[n]): f32 + x[n]
    y[n] = t
    z[n] = convert(t): f16
  }
}""")
_add("""kernel flat_bytes(x: u8[512] in, p: pred[512] in, y: u8[512] out, q: pred[512] out) {
  for n in 512 grid(32, 16) {
    y[n] = select(p[n], x[n] + 250_u8, 3_u8)
    q[n] = and(p[n], x[n] > 2_u8)
  }
}""")
_add("""kernel flat_longs(x: i64[64] in, d: f64[64] in, y: i64[64] out, e: f64[64] out) {
  for n in 64 grid(32, 2) {
    y[n] = x[n] * 4611686018427387905 + n
    e[n] = d[n] / 4.0_f64
  }
}""")
_add("""kernel joined(x: f32[6,40] in, s: f32[40] in, b: f32[6] in, y: f32[240] out) {
  for n in 240 grid(8, 4) {
    let i: i64 = n / 40
    let j: i64 = n % 40
    y[n] = x[i, j] * s[j] + b[i]
  }
}""")
_add("""kernel joined_odd(x: f32[6,10] in, s: f32[10] in, y: f32[60] out) {
  for n in 60 grid(8, 4) {
    y[n] = x[n / 10, n % 10] * s[n % 10]
  }
}""")
_add("""kernel gathered(table: f32[20,24] in, at: i32[3,7] in, row: i64[21] in, y: f32[3,7,24] out, z: f32[504] out) {
  for n in 504 grid(16, 4) {
    let i: i64 = n / 168
    let j: i64 = n / 24 % 7
    let k: i64 = n % 24
    let t: i64 = convert(at[i, j]): i64
    let inside: pred = and(t >= 0, t < 20)
    y[i, j, k] = table[t, k where inside]
    z[n] = table[row[n / 24], 23 - k where k >= 3]
  }
}""")
_add("""kernel padded(x: f32[5,12] in, y: f32[5,16] out) {
  for n in 80 grid(8, 4) {
    let i: i64 = n / 16
    let j: i64 = n % 16
    y[i, j where i >= 1] = x[i, j - 2 where and(j >= 2, j < 14)]
  }
}""")
_add("""kernel inner_sum(x: f32[9,64] in, y: f32[64] out, z: f32[64] out) {
  for n in 64 grid(8, 4) {
    let first: f32 = x[0, n]
    acc s: f32 = 1.0_f32
    acc m: f32 = first
    for r in 9 serial {
      let e: f32 = x[r, n]
      s add= e * first
      m minimum= e
    }
    y[n] = s
    z[n] = m - first
  }
}""")
_add("""kernel inner_unrolled(x: f32[64,4] in, y: f32[64,4] out) {
  for n in 64 grid(8, 4) {
    local kept: f32[4]
    acc s: f32 = 0.0_f32
    for a in 4 unrolled {
      kept[a] = x[n, a]
      s add= x[n, a]
    }
    for a in 4 unrolled {
      y[n, 3 - a] = kept[a] * s
    }
  }
}""")
_add("""kernel conditions(x: f32[128] in, n0: i32[1] in, y: f32[128] out, z: f32[128] out) {
  for n in 128 grid(8, 4) {
    z[n] = 0.0_f32
    if n0[0] > 100_i32 {
      z[n] = 5.0_f32
    }
    if n0[0] < 100_i32 {
      y[n] = x[n]
    }
    if n % 3 == 1 {
      let t: f32 = x[n] * 10.0_f32
      z[n where t > 0.0_f32] = t
    }
  }
}""")
_add("""kernel conditions_with_loops(x: f32[6,20] in, y: f32[20] out) {
  for n in 20 grid(4, 4) {
    acc s: f32 = 0.0_f32
    if n > 6 {
      for r in 6 serial {
        s add= x[r, n]
      }
    }
    y[n] = s
  }
}""")
_add("""kernel started(x: i32[7,100] in, y: i32[7] out, z: i32[7] out) {
  for i in 7 grid(4, 1) {
    acc s: i32 = 1000_i32
    acc t: i32 = 0_i32
    for j in 100 team(16, 1) {
      s add= x[i, j]
      t add= x[i, j]
    }
    t add= 5_i32
    for j in 50 team(16, 2) {
      s add= 2_i32
      t add= x[i, j * 2]
    }
    y[i] = s
    z[i] = t
  }
}""")
_add("""kernel repeated(x: f32[5,3,90] in, y: f32[5,3] out, z: f32[5] out) {
  for i in 5 grid(1, 1) {
    acc largest: f32 = -inf_f32
    for k in 3 serial {
      acc s: f32 = 0.0_f32
      for j in 90 team(64, 1) {
        s add= x[i, k, j]
        largest maximum= x[i, k, j]
      }
      y[i, k] = s
    }
    z[i] = largest
  }
}""")
_add("""kernel repeated_across(x: f32[3,90,21] in, y: f32[3,21] out) {
  for i in 21 grid(8, 1) {
    for k in 3 serial {
      acc s: f32 = 0.0_f32
      for j in 90 cross(8, 1) {
        s add= x[k, j, i]
      }
      y[k, i] = s
    }
  }
}""")
_add("""kernel transposed(x: f32[50,40] in, y: f32[40,50] out) {
  for tile in 4 grid(1, 1) {
    let row: i64 = tile / 2 * 32
    let column: i64 = tile % 2 * 32
    shared cells: f32[32,33]
    for n in 1024 team(128, 1) {
      let a: i64 = row + n / 32
      let b: i64 = column + n % 32
      cells[n / 32, n % 32] = x[a, b where and(a < 50, b < 40)]
    }
    for n in 1024 team(128, 1) {
      let a: i64 = column + n / 32
      let b: i64 = row + n % 32
      y[a, b where and(a < 40, b < 50)] = cells[n % 32, n / 32]
    }
  }
}""")
_add("""kernel turned(x: f32[5,2,64] in, y: f32[5,2,64] out) {
  for i in 5 grid(4, 1) {
    shared row: f32[64]
    for k in 2 serial {
      for j in 64 team(8, 4) {
        row[j] = x[i, k, j]
      }
      for j in 64 team(8, 1) {
        y[i, k, j] = row[63 - j]
      }
    }
  }
}""")
_add("""kernel first_of_team(x: f32[5,64] in, y: f32[5,64] out) {
  for i in 5 grid(2, 1) {
    shared factor: f32[1]
    factor[0] = x[i, 3]
    for j in 64 team(64, 1) {
      y[i, j] = x[i, j] * factor[0]
    }
  }
}""")
for _lanes, _team, _kind, _name in ((4, 8, "team", "warp"), (1, 64, "team", "block"), (2, 64, "team", "blocks"), (4, 8, "cross", "across")):
    _add(f"""kernel condition_{_name}(x: f32[7,40] in, n0: i32[7] in, y: f32[7] out) {{
  for i in 7 grid({_lanes}, 1) {{
    acc s: f32 = 1.0_f32
    if n0[i] > 3_i32 {{
      for j in 40 {_kind}({_team}, 1) {{
        s add= x[i, j]
      }}
      if i > 1 {{
        for j in 20 {_kind}({_team}, 1) {{
          s add= x[i, j]
        }}
      }}
    }}
    y[i] = s
  }}
}}""")
_add("""kernel several(x: f32[100] in, w: f32[6,50] in, v: f32[300,5] in, y: f32[100] out, s: f32[6] out, c: f32[5] out, z: f32[0] out) {
  let two: f32 = x[0] * 0.0_f32 + 2.0_f32
  for n in 100 grid(32, 4) {
    y[n] = x[n] * two
  }
  for i in 6 grid(2, 1) {
    acc t: f32 = 0.0_f32
    for j in 50 team(64, 1) {
      t add= w[i, j]
    }
    s[i] = t * two
  }
  for n in 0 grid(32, 1) {
    z[n] = 1.0_f32
  }
  for i in 5 grid(4, 1) {
    acc t: f32 = 0.0_f32
    for j in 300 cross(16, 1) {
      t add= v[j, i]
    }
    c[i] = t
  }
}""")
_add("""kernel random(counter: u64[1] in, y: u32[64] out, z: u32[30] out, w: u32[64] out) {
  let number: i64 = convert(counter[0]): i64
  for n in 64 grid(8, 4) {
    y[n] = random_word(number, -8589934593, n)
    w[n] = random_word(number, 3, n + 2)
  }
  for n in 30 grid(32, 1) {
    z[n] = random_word(number, 81985529216486895, n + 4294967297)
  }
}""")
_add("""kernel in_place(x: f32[3,200] inout, n: i32[1] inout) {
  for i in 3 grid(1, 1) {
    acc s: f32 = 0.0_f32
    for j in 200 team(64, 4) {
      s add= x[i, j]
    }
    for j in 200 team(64, 4) {
      x[i, j] = x[i, j] * 0.5_f32 + s
    }
    acc t: f32 = 0.0_f32
    for j in 200 team(64, 1) {
      t add= x[i, 199 - j]
    }
    x[i, 0] = t
  }
  for k in 1 grid(1, 1) {
    n[0] = n[0] + 1_i32
  }
}""")
_add("""kernel many_rounds(x: f32[2,5000] in, y: f32[2] out, z: f32[2] out) {
  for i in 2 grid(1, 1) {
    acc s: f32 = 0.0_f32
    acc m: f32 = inf_f32
    for j in 5000 team(32, 4) {
      s add= x[i, j]
      m minimum= x[i, j]
    }
    y[i] = s
    z[i] = m
  }
}""")
_add("""kernel many_odd_rounds(x: f32[4999] in, y: f32[1] out) {
  for i in 1 grid(1, 1) {
    acc s: f32 = 0.0_f32
    for j in 4999 team(32, 4) {
      s add= x[j]
    }
    y[i] = s
  }
}""")
_add("""kernel parts_of_both(x: f32[6,64] in, y: f32[6] out) {
  for i in 6 grid(2, 2) {
    acc s: f32 = 0.0_f32
    local row: f32[64]
    for j in 64 team(8, 4) {
      row[j] = x[i, j]
      s add= x[i, j]
    }
    acc t: f32 = 0.0_f32
    for j in 64 team(8, 4) {
      t add= row[j] * s
    }
    y[i] = t
  }
}""")
_add("""kernel nothing(x: f32[0] in, y: f32[0] out) {
  for n in 0 grid(32, 1) {
    y[n] = x[n]
  }
}""")
_add("""kernel of_nothing(x: f32[4,0] in, y: f32[4] out) {
  for i in 4 grid(4, 1) {
    acc s: f32 = 3.0_f32
    for j in 0 team(8, 1) {
      s add= x[i, j]
    }
    y[i] = s
  }
}""")
_add("""kernel words(int: f32[64] in, for_: f32[64] in, threadIdx: f32[64] out) {
  for float in 64 grid(32, 1) {
    let add: f32 = int[float] + for_[float]
    let y0: f32 = maximum(add, 1.0_f32)
    threadIdx[float] = y0
  }
}""")
for _dtype in ("f16", "bf16", "f64", "i8", "i16", "i64", "u8", "u16", "u32", "u64"):
    _zero, _one, _low = ("0.0", "1.0", "-inf") if "f" in _dtype else ("0", "1", "0" if "u" in _dtype else "-100")
    _outs = ", ".join(f"{_name}: {_dtype}[{_size}] out" for _name, _size in (("s", 3), ("p", 3), ("m", 3), ("c", 50)))
    _add(f"""kernel totals_{_dtype}(x: {_dtype}[3,50] in, {_outs}) {{
  for i in 3 grid(2, 1) {{
    acc a: {_dtype} = {_zero}_{_dtype}
    acc b: {_dtype} = {_one}_{_dtype}
    acc d: {_dtype} = {_low}_{_dtype}
    for j in 50 team(16, 2) {{
      a add= x[i, j]
      b multiply= select(x[i, j] == {_one}_{_dtype}, {_one}_{_dtype} + {_one}_{_dtype}, {_one}_{_dtype})
      d maximum= x[i, j]
    }}
    s[i] = a
    p[i] = b
    m[i] = d
  }}
  for j in 50 grid(16, 2) {{
    acc a: {_dtype} = {_zero}_{_dtype}
    for i in 3 cross(2, 1) {{
      a add= x[i, j]
    }}
    c[j] = a
  }}
}}""")
_add("""kernel totals_pred(x: pred[3,70] in, all: pred[3] out, any: pred[3] out, most: pred[3] out) {
  for i in 3 grid(1, 1) {
    acc a: pred = true
    acc b: pred = false
    acc c: pred = false
    for j in 70 team(64, 4) {
      a and= x[i, j]
      b or= x[i, j]
      c maximum= not(x[i, j])
    }
    all[i] = a
    any[i] = b
    most[i] = c
  }
}""")
_add("""kernel totals_bits(x: u32[3,70] in, all: u32[3] out, any: u32[3] out) {
  for i in 3 grid(4, 1) {
    acc a: u32 = 4294967295_u32
    acc b: u32 = 0_u32
    for j in 70 team(32, 1) {
      a and= x[i, j]
      b or= x[i, j]
    }
    all[i] = a
    any[i] = b
  }
}""")
