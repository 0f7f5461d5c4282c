"""graphc: graphs in the words of TensorFlow 1, compiled ahead of the first step into one native call. The public face.

`import graphc as gc` and write TensorFlow 1: `gc.placeholder`, `gc.Variable`, `gc.layers.dense`, `gc.nn.softmax`, `gc.train.AdamOptimizer`,
`gc.Session`. The names that follow are all there is to know; the rooms behind them are described in docs/design.md.
"""
import sys as _sys

from graphc import benchmark, contrib, distributions, initializers, layers, metrics, passes, train
from graphc.api import bitwise, debugging, image, linalg, losses, manip, math, nn, quantization, random, signal, sparse, spectral, summary
from graphc.core import dtypes, errors
from graphc.core.convert import constant, convert_to_tensor, register_tensor_conversion_function
from graphc.core.current import (
    add_to_collection,
    add_to_collections,
    colocate_with,
    control_dependencies,
    device,
    get_collection,
    get_collection_ref,
    name_scope,
    op_scope,
)
from graphc.core.dtypes import (
    DType,
    as_dtype,
    bfloat16,
    bool,
    complex64,
    complex128,
    double,
    float16,
    float32,
    float64,
    half,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from graphc.core.graph import Graph, get_default_graph, reset_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.leaves import group, no_op, placeholder
from graphc.core.names import suggest_names
from graphc.core.operation import Operation, Tensor
from graphc.core.scopes import DeviceSpec, get_default_session
from graphc.core.shapes import Dimension, TensorShape
from graphc.explain_gradient import explain_gradient
from graphc.gradient_wrappers import grad_pass_through, recompute_grad
from graphc.gradients import AggregationMethod, UnconnectedGradients, gradients
from graphc.initializers import (
    constant_initializer,
    glorot_normal_initializer,
    glorot_uniform_initializer,
    ones_initializer,
    orthogonal_initializer,
    random_normal_initializer,
    random_uniform_initializer,
    truncated_normal_initializer,
    uniform_unit_scaling_initializer,
    variance_scaling_initializer,
    zeros_initializer,
)
from graphc.inspecting import dimension_at_index, dimension_value, executing_eagerly, get_static_value, is_tensor, newaxis
from graphc.jacobians import hessians, jacobian, jvp
from graphc.ops.names_arrays import *  # every function that declares an operation, in three lists
from graphc.ops.names_numbers import *
from graphc.ops.names_others import *
from graphc.partitions import fixed_size_partitioner, min_max_variable_partitioner, variable_axis_size_partitioner
from graphc.readiness import assert_variables_initialized, is_variable_initialized, report_uninitialized_variables
from graphc.registered_gradients import NoGradient, NotDifferentiable, RegisterGradient, custom_gradient
from graphc.registered_gradients import NotDifferentiable as no_gradient
from graphc.runtime.config import PIPELINES as pipelines
from graphc.runtime.config import ConfigProto, GPUOptions, Pipeline
from graphc.runtime.executable import Executable
from graphc.runtime.run_options import RunMetadata, RunOptions
from graphc.runtime.session import InteractiveSession, Session
from graphc.template import make_template
from graphc.variable_scope import (
    AUTO_REUSE,
    VariableScope,
    create_partitioned_variables,
    get_local_variable,
    get_variable,
    get_variable_scope,
    no_regularizer,
    variable_op_scope,
    variable_scope,
)
from graphc.variables import (
    Variable,
    VariableAggregation,
    VariableSynchronization,
    all_variables,
    assign,
    assign_add,
    assign_sub,
    count_up_to,
    disable_resource_variables,
    enable_resource_variables,
    global_variables,
    global_variables_initializer,
    initialize_all_variables,
    initialize_local_variables,
    initialize_variables,
    local_variables,
    local_variables_initializer,
    model_variables,
    moving_average_variables,
    resource_variables_enabled,
    trainable_variables,
    variables_initializer,
)

__version__ = "0.1.0"

suggest_names(_sys.modules[__name__], bitwise, debugging, image, linalg, losses, math, metrics, nn, random, signal, sparse)
