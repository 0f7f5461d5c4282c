"""Records what TensorFlow 1.15 answers to the lines of user code in `tests/judge/*.txt`, for `tests/test_judge.py` to hold graphc to.

    python3.7 tests/judge/record.py                 records the answers to lines that have none yet
    python3.7 tests/judge/record.py --all           records every answer anew
    python3.7 tests/judge/record.py reductions      ... of tests/judge/reductions.txt alone

Run it with the Python of a TensorFlow 1.15 (this file and `inputs.py` need that and numpy, no graphc). To add a sample, write a line
`>>> tf.cumsum(x, 1)` into one of the files and record. The inputs x, y, c ... are those of `inputs.py`. A line may bind names first:
`>>> a = tf.abs(n); tf.sqrt(a), a`. Each answer stands under its line:

    : Cumsum float32 [2,3] Cumsum:0     one line per result: type of its operation, dtype, static shape, name
    = [[0.25, ...]]                      its value
    ~ (2, 3)                             a result that is no tensor
    ' x [[2.0, ...]]                     the gradient by an input of the results, each weighted by `weights` below
    ' none                               where TensorFlow has none, or fails
    ! ValueError                         or, instead: the kind of error when the line is declared
    !! InvalidArgumentError              or when it is run

It writes `names.txt` too: every function that TensorFlow has, with its signature.
"""
import ast
import inspect
import json
import os
import re
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SPACES = ("", "math", "bitwise", "random", "nn", "linalg", "debugging", "image", "losses", "metrics", "layers", "initializers", "signal",
          "spectral", "sparse", "quantization", "dtypes", "manip", "sets", "distributions")


def weights(value):
    """What the gradient of each result is weighted with: no two neighbours alike."""
    return (0.5 + np.arange(value.size) % 7 / 8.0).reshape(value.shape).astype(value.dtype)


def split(code):
    """The statements before the last expression, and that expression."""
    tree = ast.parse(code)
    last = ast.Expression(tree.body.pop().value)
    return compile(tree, code, "exec"), compile(last, code, "eval")


def evaluate(code, tf, placeholders):
    names = dict(placeholders, tf=tf, np=np)
    before, last = split(code)
    exec(before, names)
    return eval(last, names)


def flat(result, tensor_type):
    """The tensors in a result, in order."""
    if isinstance(result, (list, tuple)):
        return [each for part in result for each in flat(part, tensor_type)]
    return [result] if isinstance(result, tensor_type) else []


def plain(result):
    """A result without tensors: a number, a shape as its dims, that it is an operation."""
    if hasattr(result, "node_def") or hasattr(result, "definition"):
        return "operation"
    return str(tuple(result.as_list()) if hasattr(result, "as_list") else result)


def text(value):
    """A value as JSON; complex numbers as pairs, an empty array as its shape."""
    array = np.asarray(value)
    if not array.size:
        return json.dumps({"empty": list(array.shape)})
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], -1)
    if array.dtype.kind not in "biu":
        digits = "%.17g" if array.dtype == np.float64 else "%.8g"
        array = np.vectorize(lambda x: float(digits % x), otypes=[object])(array.astype(np.float64))
    return json.dumps(array.tolist())


def dims(shape):
    if shape.dims is None:
        return "?"
    listed = ",".join("?" if d is None else str(d) for d in shape.as_list())
    return f"[{listed}]"


def answer(code, tf, inputs):
    """The lines of the answer to `code`."""
    with tf.Graph().as_default():
        placeholders = {name: tf.placeholder(array.dtype, shape, name=name) for name, (array, shape) in inputs.items()}
        try:
            result = evaluate(code, tf, placeholders)
            results = flat(result, tf.Tensor)
        except Exception as error:
            return [f"! {type(error).__name__}"]
        if not results:
            return [f"~ {plain(result)}"]
        lines = [f": {t.op.type} {t.dtype.base_dtype.name} {dims(t.shape)} {t.name}" for t in results]
        feeds = {placeholders[name]: array for name, (array, _) in inputs.items()}
        with tf.Session() as session:
            try:
                session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
                values = session.run(results, feeds)
            except Exception as error:
                return [*lines, f"!! {type(error).__name__}"]
            lines += [f"= {text(value)}" for value in values]
            smooth = [(t, v) for t, v in zip(results, values) if t.dtype.is_floating or t.dtype.is_complex]
            by = [t for t in placeholders.values() if t.dtype.is_floating or t.dtype.is_complex]
            if smooth:
                try:
                    slopes = tf.gradients([t for t, _ in smooth], by, [weights(v) for _, v in smooth])
                    found = [(t, g) for t, g in zip(by, slopes) if g is not None]
                    arrays = session.run([tf.convert_to_tensor(g) for _, g in found], feeds)
                except Exception:  # TensorFlow knows none here
                    return [*lines, "' none"]
                lines += [f"' {t.op.name} {text(g)}" for (t, _), g in zip(found, arrays)]
    return lines


def record(path, tf, inputs, everything):
    written, code, known = [], None, []

    def close():
        if code is not None:
            written.extend(known if known and not everything else answer(code, tf, inputs))

    for line in path.read_text().splitlines():
        if line.startswith((">>> ", "#")) or not line:
            close()
            code, known = None, []
            written.append(line)
            if line.startswith(">>> "):
                code = line[4:]
        else:
            known.append(line)
    close()
    path.write_text("\n".join(written) + "\n")


def record_names(tf):
    lines = []
    for space in SPACES:
        module = getattr(tf, space) if space else tf
        for name in sorted(dir(module)):
            thing = getattr(module, name)
            if name.startswith("_") or not callable(thing) or inspect.ismodule(thing):
                continue
            try:
                signature = str(inspect.signature(thing))
            except (TypeError, ValueError):
                signature = "(...)"
            kind = "class" if inspect.isclass(thing) else "def"
            signature = re.sub(r" at 0x[0-9a-f]+", "", signature)
            lines.append(f"{kind} {space}{'.' if space else ''}{name}{signature}")
    (HERE / "names.txt").write_text("\n".join(lines) + "\n")


def main(arguments):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    from inputs import INPUTS
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    chosen = [each for each in arguments if not each.startswith("-")]
    for path in sorted(HERE.glob("*.txt")):
        if path.stem not in ("names", "differences") and (not chosen or path.stem in chosen):
            record(path, tf, INPUTS, "--all" in arguments)
    record_names(tf)


if __name__ == "__main__":
    main(sys.argv[1:])
