"""TF1's `manip`: movements of elements, which have their top-level names too."""
from graphc.ops.array import reshape
from graphc.ops.gathering import gather_nd
from graphc.ops.joining import reverse, tile
from graphc.ops.patches import batch_to_space_nd, space_to_batch_nd
from graphc.ops.scatter import scatter_nd
from graphc.ops.sequences import roll

__all__ = [
    "batch_to_space_nd", "gather_nd", "reshape", "reverse", "roll", "scatter_nd", "space_to_batch_nd", "tile",
]
