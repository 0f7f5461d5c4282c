"""Pictures of what the compiler did, as SVG text: the memory map, the stages, the flow between kernels.

Made for `graphc dump` and the README, from plain numbers and names: nothing here knows the compiler.
"""
