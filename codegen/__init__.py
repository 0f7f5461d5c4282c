"""The room of code: Programs become kernels in one small language of loops (`ir`), kernels become machine code.

`lower` makes kernels, `schedule` rewrites them for a machine, `llvm` prints them. The language has its own tools: `text` and `parse` (dumps
that read back), `verify` (what a valid kernel obeys), `interp` (what a kernel means), `cost` (what it moves and computes).
"""
