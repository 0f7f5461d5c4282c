"""Names that TensorFlow's functions had before 1.0, which old programs still use. One table; nothing of its own."""
from graphc.ops.choosing import where as select
from graphc.ops.elementwise import abs_ as complex_abs
from graphc.ops.elementwise import multiply as mul
from graphc.ops.elementwise import negative as neg
from graphc.ops.elementwise import reciprocal as inv
from graphc.ops.elementwise import subtract as sub
from graphc.ops.joining import concat as concat_v2
from graphc.ops.joining import stack as pack
from graphc.ops.joining import unstack as unpack
from graphc.ops.linear import matmul as batch_matmul

__all__ = ["batch_matmul", "complex_abs", "concat_v2", "inv", "mul", "neg", "pack", "select", "sub", "unpack"]
