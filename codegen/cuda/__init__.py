"""The CUDA printer: scheduled kernel IR in, CUDA C and machine code out. Last room before the runtime on a GPU.

What the text is made of: `graphc.cuh` (what every text includes: element types, vector accesses, arithmetic with defined results, totals
over teams), `types` (names in the text), `facts` (what is known of an index), `arith` and `scalars` (expressions and straight lines),
`segment` (several elements of one thread at once), `layout` (which thread does what), `reduce` (totals and barriers), `body` (loops),
`product` and its parts (matrix products), `printer` (a whole kernel).

From text to machine code: `compiler` (the cache, and which compiler), `nvrtc` and `nvcc` (the two there are), `toolchain` (what they
share), `resources` (registers, spills, occupancy).

Beside them stands `gemm` with `gelu` and `polynomial`: which kernels cublasLt can do whole.
"""
