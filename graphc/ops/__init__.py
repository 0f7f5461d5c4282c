"""The third room: composites over primitives, and the public functions that declare operations, under TF1's names.

Each file holds one family: the composites and beside them the functions. Importing this room installs Python's operators on tensors. The
functions that users have as `gc.<name>` stand in three lists, by subject; a new one gets a line in one of them.
"""
from graphc.ops import operators as operators
from graphc.ops.names_arrays import *
from graphc.ops.names_numbers import *
from graphc.ops.names_others import *
