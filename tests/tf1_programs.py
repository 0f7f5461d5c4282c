"""Programs of several lines, and what TensorFlow 1.15.5 answers to them: names of variables, collections, shapes, values over some runs.

`tests/golden/tf1_*.programs` holds the programs ("### name", then code with `tf`, `np` and `ramp`), the `.json` beside it the answers.
A program sets `outputs` (a list of tensors) and may set `steps` (a list of feed_dicts; each runs `outputs`), `final` (tensors to look at
after all steps) and `named` (False: names of operations are not compared). Record the answers anew, with a Python that has TensorFlow 1.15:

    python tests/tf1_programs.py tests/golden/tf1_layers.programs

This file is read by Python 3.7 too.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

COLLECTIONS = ("trainable_variables", "local_variables", "metric_variables", "model_variables", "moving_average_variables", "update_ops",
               "regularization_losses", "losses")


def ramp(*shape, low=-1.0, high=1.0, dtype=np.float32):
    """Numbers from low to high in an order that is neither rising nor symmetric."""
    count = int(np.prod(shape))
    order = (np.arange(count) * 7919 + 3) % 10007 % max(count, 1)
    return (low + (high - low) * order / max(count - 1, 1)).astype(dtype).reshape(shape)


def read(path):
    """Programs by name."""
    found = {}
    for block in Path(path).read_text().split("### ")[1:]:
        name, _, code = block.partition("\n")
        found[name.strip()] = code
    return found


def answer(tf, code):
    """What `tf` answers to one program, as JSON holds it; an exception as its type and message."""
    with tf.Graph().as_default():
        space = {"tf": tf, "np": np, "ramp": ramp}
        try:
            exec(compile(code, "<program>", "exec"), space)
        except (ValueError, TypeError) as error:
            return {"error": type(error).__name__ + ": " + str(error).splitlines()[0]}
        outputs, final = list(space.get("outputs", [])), list(space.get("final", []))
        found = {
            "named": space.get("named", True),
            "variables": [[v.name, v.shape.as_list(), v.dtype.base_dtype.name if hasattr(v.dtype, "base_dtype") else v.dtype.name]
                          for v in tf.global_variables()],
            "collections": {key: [each.name for each in tf.get_collection(key)] for key in COLLECTIONS if tf.get_collection(key)},
            "outputs": [[t.name, shape_of(t)] for t in outputs],
        }
        with tf.Session() as session:
            session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
            found["values"] = [[np.asarray(v).tolist() for v in session.run(outputs, feeds)] for feeds in space.get("steps", [{}])]
            found["final"] = [np.asarray(v).tolist() for v in session.run(final)]
        return found


def shape_of(tensor):
    return tensor.shape.as_list() if tensor.shape.ndims is not None else None


if __name__ == "__main__":
    import tensorflow

    programs = Path(sys.argv[1])
    answers = {name: answer(tensorflow, code) for name, code in read(programs).items()}
    programs.with_suffix(".json").write_text(
        "{\n" + ",\n".join(json.dumps(name) + ": " + json.dumps(each) for name, each in answers.items()) + "\n}\n")
