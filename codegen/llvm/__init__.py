"""The LLVM printer: kernel IR in, text of LLVM code and machine code out. Last room before the runtime on a CPU.

Bottom up: `target` (what this machine can do), `emit` (assembling text), `vec` (arithmetic on vectors as on paper), `types` (how element
types are spelled, loaded and stored), `arith` with `intarith` and `convert` (every scalar operation), `vecmath` and `vecmath64` (elementary
functions as inline polynomials); the kernels, the plan and the cache stand on these.
"""
