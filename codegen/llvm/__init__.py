"""The LLVM printer: kernel IR in, text of LLVM code and machine code out. Last room before the runtime on a CPU.

Bottom up: `target` (what this machine can do), `emit` (assembling text), `vec` (arithmetic on vectors as on paper), `types` (how element
types are spelled, loaded and stored), `arith` with `intarith` and `convert` (every scalar operation), `vecmath` and its parts (elementary
functions as inline polynomials). On these stand the kernels: `forms` (what an expression is while it is printed), `scopes` (where an
instruction belongs), `memory` (loads and stores), `body` (statements and loops), `product` and its parts (matrix products), `printer`.

From text to a running program: `jit` (compile and link), `cache` (object code kept on disk), `pool` (the threads that share a kernel),
`plan` (all launches of a run as one function) and `entry` (the way into it from Python).
"""
