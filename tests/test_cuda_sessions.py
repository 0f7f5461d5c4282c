"""Whole sessions on a fake GPU against the same sessions on the CPU: training by capture and replay, feeds, fetches, state, errors."""
from __future__ import annotations

import pytest

from tests.cuda_worker import run

TRAINING = """
    def train(device, steps=6, optimizer=None, **options):
        graph = gc.Graph()
        with graph.as_default():
            random = np.random.default_rng(1)
            gc.set_random_seed(7)
            x, labels = gc.placeholder(gc.float32, [None, 12], name="x"), gc.placeholder(gc.int32, [None], name="labels")
            hidden, width = x, 12
            for layer, units in enumerate((20, 5)):
                w = gc.Variable(random.standard_normal((width, units)).astype(np.float32) * 0.3, name=f"w{layer}")
                b = gc.Variable(np.zeros(units, np.float32), name=f"b{layer}")
                hidden, width = gc.matmul(hidden, w) + b, units
                if layer == 0:
                    hidden = gc.nn.dropout(gc.nn.relu(hidden), keep_prob=0.8)
            loss = gc.reduce_mean(gc.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=hidden))
            step = (optimizer or gc.train.AdamOptimizer(0.05)).minimize(loss)
            init = gc.global_variables_initializer()
        feeds = np.random.default_rng(2)
        losses = []
        with gc.Session(graph=graph, config=gc.ConfigProto(device=device, **options)) as session:
            session.run(init)
            for number in range(steps):
                rows = 17 if number == 3 else 32  # a batch of another shape between
                batch = {x: feeds.standard_normal((rows, 12)).astype(np.float32), labels: feeds.integers(0, 5, rows).astype(np.int32)}
                losses.append(session.run([loss, step], batch)[0])
            variables = session.run(graph.get_collection(gc.GraphKeys.GLOBAL_VARIABLES))
        return losses, variables
"""


@pytest.mark.parametrize("products", ["generated", "auto"])
def test_training_is_that_of_the_cpu(products: str) -> None:
    """Dropout, Adam, and a batch of another shape in the middle: the arena moves, and what was recorded is recorded anew."""
    run(TRAINING + f"""
    expected, expected_variables = train("cpu")
    losses, variables = train("gpu", products="{products}")
    assert counters().graph_launches >= 4, counters().graph_launches
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for value, reference in zip(variables, expected_variables, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-3, atol=1e-5)
    assert alive() == (0, 0, 1, 0, 0), alive()
    """)


def test_losses_are_the_same_bit_for_bit_with_and_without_graphs() -> None:
    run(TRAINING + """
    with_graphs = train("gpu")
    os.environ["GRAPHC_CUDA_GRAPHS"] = "0"
    before = counters().graph_launches
    without = train("gpu")
    assert counters().graph_launches == before
    assert with_graphs[0] == without[0]
    assert all(np.array_equal(one, other) for one, other in zip(with_graphs[1], without[1], strict=True))
    """)


def test_feeds_and_fetches_of_every_type_and_of_awkward_shapes() -> None:
    run("""
    types = (gc.float32, gc.float64, gc.float16, gc.bfloat16, gc.int8, gc.int16, gc.int32, gc.int64, gc.uint8, gc.uint16, gc.bool)
    for shape in ((), (0,), (1,), (3, 0, 2), (7, 3), (2000,)):
        graph = gc.Graph()
        with graph.as_default():
            feeds = [gc.placeholder(dtype, shape) for dtype in types]
            copies = [gc.identity(feed) for feed in feeds]
            shifted = gc.logical_not(feeds[-1]) if shape else feeds[-1]
        values = [np.asarray(np.random.default_rng(3).integers(0, 2, shape)).astype(dtype.np_dtype) for dtype in types]
        with gc.Session(graph=graph, config=gc.ConfigProto(device="gpu")) as session:
            for _ in range(3):
                found = session.run([*feeds, *copies, shifted], dict(zip(feeds, values)))
                for value, result in zip([*values, *values], found[:-1], strict=True):
                    assert result.dtype == value.dtype and result.shape == value.shape
                    assert np.array_equal(result, value), (shape, value.dtype)
                assert np.array_equal(found[-1], ~values[-1] if shape else values[-1])
    """)


def test_feeds_that_need_converting_are_converted() -> None:
    run("""
    import warnings
    warnings.simplefilter("ignore", SlowFeedWarning)
    x = gc.placeholder(gc.float32, [3], name="x")
    y = x * 2.0
    with gc.Session(config=gc.ConfigProto(device="gpu")) as session:
        for value in ([1, 2, 3], np.array([1.0, 2.0, 3.0]), np.array([1, 0, 2, 0, 3, 0], np.float32)[::2], (1.0, 2.0, 3.0)):
            assert session.run(y, {x: value}).tolist() == [2, 4, 6]
        assert error_of(session.run, y, {x: [1.0, 2.0]}).startswith("ValueError: Cannot feed value of shape (2,)")
        assert session.run(y, {x: [1, 2, 3]}).tolist() == [2, 4, 6]
    """)


def test_variables_live_on_the_device_and_survive_every_error() -> None:
    run("""
    count = gc.Variable(np.arange(4, dtype=np.float32), name="count")
    x = gc.placeholder(gc.float32, [None, 4], name="x")
    grow = gc.assign_add(count, gc.reduce_sum(x, axis=0))
    other = gc.Variable(np.ones(4, np.float32), name="other")
    needs_both = gc.assign(count, count + other)
    rows = gc.placeholder(gc.int32, [], name="rows")
    huge = gc.assign_add(count, gc.reduce_sum(gc.exp(gc.random_uniform([1 << 28, 4]) + count), axis=0))
    session = gc.Session(config=gc.ConfigProto(device="gpu"))
    session.run(count.initializer)
    ones = np.ones((2, 4), np.float32)
    for _ in range(3):
        session.run(grow, {x: ones})
    expected = [6, 7, 8, 9]
    assert error_of(session.run, needs_both).startswith("FailedPreconditionError: Attempting to use uninitialized value other")
    assert error_of(session.run, grow, {x: ones[:, :2]}).startswith("ValueError")
    assert error_of(session.run, grow).startswith("InvalidArgumentError")
    assert session.run(count).tolist() == expected
    assert session.run([count, grow], {x: ones})[1].tolist() == [8, 9, 10, 11]
    assert session.list_variables() == ["count"]
    session.close()
    assert error_of(session.run, count) == "RuntimeError: Attempted to use a closed Session."
    assert alive() == (0, 0, 1, 0, 0), alive()
    """)


def test_too_little_memory_names_the_operation_and_its_line() -> None:
    printed = run("""
    x = gc.placeholder(gc.float32, [None, 1000], name="x")
    w = gc.Variable(np.ones((1000, 1000), np.float32), name="w")
    b = gc.Variable(np.zeros(1000, np.float32), name="b")
    small = gc.assign_add(b, gc.reduce_sum(x, axis=0))
    y = gc.reduce_sum(gc.matmul(x, w), name="total")
    session = gc.Session(config=gc.ConfigProto(device="gpu"))
    session.run(b.initializer)
    session.run(small, {x: np.ones((1, 1000), np.float32)})
    before = counters().live_bytes
    print(error_of(session.run, w.initializer))
    print("----")
    print(error_of(session.run, small, {x: np.ones((900, 1000), np.float32)}))
    assert counters().live_bytes == before
    for _ in range(3):
        session.run(small, {x: np.ones((1, 1000), np.float32)})
    assert session.run(b).tolist() == [4] * 1000
    """, memory=3 << 20)
    first, second = printed.split("----")
    assert first.startswith("ResourceExhaustedError: Out of memory on /gpu:0 (Fake GPU 0): a run needs")
    assert "of 3.0 MiB are free" in first
    assert "which alone needs 3.8 MiB" in first
    assert "in operation 'w' (VariableV2)" in first
    assert "declared at script.py" in first
    assert second.strip().startswith("ResourceExhaustedError: Out of memory on /gpu:0")
    assert "in operation 'x' (Placeholder)" in second


def test_random_numbers_are_those_of_the_cpu_and_go_on_from_run_to_run() -> None:
    run("""
    gc.set_random_seed(3)
    bits = gc.random_uniform([1000], seed=5)
    kept = {}
    for device in ("cpu", "gpu"):
        with gc.Session(config=gc.ConfigProto(device=device)) as session:
            kept[device] = [session.run(bits) for _ in range(4)]
    assert all(np.array_equal(one, other) for one, other in zip(kept["cpu"], kept["gpu"], strict=True))
    assert len({run.tobytes() for run in kept["gpu"]}) == 4
    """)


def test_feeds_on_a_device() -> None:
    printed = run("""
    import pycuda.gpuarray
    x = gc.placeholder(gc.float32, [None, 3], name="x")
    y = x * 2.0
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    with device(0).current:
        there = pycuda.gpuarray.to_gpu(values)
        wrong = pycuda.gpuarray.to_gpu(values.astype(np.int64))
    with device(1).current:
        elsewhere = pycuda.gpuarray.to_gpu(values)
    with gc.Session(config=gc.ConfigProto(device="gpu")) as session, gc.Session() as cpu:
        for feed in (there, values, there, there):
            assert np.array_equal(session.run(y, {x: feed}), values * 2)
        class Later:  # as jax has them
            __cuda_array_interface__ = there.__cuda_array_interface__ | {"stream": None}
            waited = 0
            def block_until_ready(self): self.waited += 1
        later = Later()
        assert np.array_equal(session.run(y, {x: later}), values * 2) and later.waited
        print(error_of(cpu.run, y, {x: there}))
        print(error_of(session.run, y, {x: elsewhere}))
        print(error_of(session.run, y, {x: wrong}))
        assert np.array_equal(session.run(y, {x: there}), values * 2)
        assert np.array_equal(cpu.run(y, {x: values}), values * 2)
    for number, name in ((0, "there"), (0, "wrong"), (1, "elsewhere")):
        with device(number).current:
            globals().pop(name).gpudata.free()
    """, devices=2)
    assert "InvalidArgumentError: The feed of 'x:0' is an array on a GPU, and the session runs on /cpu:0" in printed
    assert "InvalidArgumentError: The feed of 'x:0' is an array on /gpu:1, and the session runs on /gpu:0" in printed
    assert "TypeError: Cannot feed an array of type <i8" in printed


def test_a_fault_names_operation_and_line_and_other_sessions_are_told() -> None:
    printed = run("""
    x = gc.placeholder(gc.float32, [100], name="x")
    y = gc.nn.softmax(gc.tanh(x), name="soft")
    session, other = (gc.Session(config=gc.ConfigProto(device="gpu")) for _ in range(2))
    values = np.ones(100, np.float32)
    session.run(y, {x: values}); other.run(y, {x: values})
    fail_launch(1, ILLEGAL_ADDRESS)
    session.run(y, {x: values})
    """.replace("    session.run(y, {x: values})\n    ", "    print(error_of(session.run, y, {x: values}))\n    print('----')\n    ") + """
    print(error_of(session.run, y, {x: values}))
    print(error_of(other.run, y, {x: values}))
    print(error_of(other.run, gc.constant(1.0)))
    with gc.Session() as cpu:
        assert abs(cpu.run(y, {x: values}).sum() - 1) < 1e-5
    session.close(); other.close()
    """)
    first, later = printed.split("----")
    assert "an illegal memory access was encountered" in first
    assert "soft" in first
    assert "script.py:" in first
    assert later.count("InternalError: /gpu:0 (Fake GPU 0) has failed, and its context is lost") == 3


def test_one_session_and_several_sessions_in_many_threads() -> None:
    run("""
    x = gc.placeholder(gc.float32, [64], name="x")
    total = gc.Variable(np.zeros(64, np.float32), name="total")
    add = gc.assign_add(total, x * 2.0)
    shared = gc.Session(config=gc.ConfigProto(device="gpu"))
    shared.run(total.initializer)
    failed = []
    def work(own):
        try:
            session = gc.Session(graph=total.graph, config=gc.ConfigProto(device="gpu")) if own else shared
            if own:
                session.run(total.initializer)
            for number in range(10):
                session.run(add, {x: np.full(64, number, np.float32)})
            if own:
                assert session.run(total).tolist() == [90] * 64
                session.close()
        except BaseException as error:
            failed.append(repr(error))
    threads = [threading.Thread(target=work, args=(own,)) for own in (False, False, True, True, False)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed, failed
    assert shared.run(total).tolist() == [270] * 64
    shared.close()
    assert alive() == (0, 0, 1, 0, 0), alive()
    """)


def test_sessions_that_are_dropped_or_left_open_free_everything() -> None:
    printed = run("""
    import atexit
    atexit.register(lambda: print("leaked", counters().leaked_allocations, *alive()))
    x = gc.placeholder(gc.float32, [None], name="x")
    w = gc.Variable(2.0, name="w")
    y = x * w
    def use():
        session = gc.Session(config=gc.ConfigProto(device="gpu"))
        session.run(w.initializer)
        for _ in range(3):
            session.run(y, {x: np.ones(5000, np.float32)})
        return session
    use()
    collector.collect()
    assert alive() == (0, 0, 1, 0, 0), alive()
    left_open = use()
    """)
    assert printed.split() == ["leaked", "0", "0", "0", "0", "0", "0"]


def test_a_profile_of_a_session() -> None:
    run("""
    x = gc.placeholder(gc.float32, [8, 8], name="x")
    y = gc.reduce_sum(gc.tanh(gc.matmul(x, x)), axis=1)
    with gc.Session(config=gc.ConfigProto(device="gpu")) as session:
        value = np.ones((8, 8), np.float32)
        profile = session.profile(y, {x: value}, runs=2)
        assert len(profile.kernels) == len(session.compile(y, {x: value}).launches)
        assert profile.steps[0].kind == "upload" and profile.steps[-1].kind == "download"
        assert profile.steps[0].bytes == 2 * value.nbytes
        starts = [step.start_us for step in profile.steps]
        assert starts == sorted(starts), starts
        assert profile.flows == ((0, 1),)
        assert "threads" in profile.table()
        metadata = gc.RunMetadata()
        options = gc.RunOptions(trace_level=gc.RunOptions.FULL_TRACE)
        traced = session.run(y, {x: value}, options, metadata)
        assert np.array_equal(traced, session.run(y, {x: value}))
        assert metadata.step_stats.dev_stats[0].device == "/job:localhost/replica:0/task:0/device:GPU:0"
    with gc.Session(config=gc.ConfigProto(device="gpu")) as session:  # the very first run, before anything was launched
        assert np.array_equal(session.run(y, {x: value}, options, metadata), traced)
        assert metadata.profile.kernels
    """)


def test_verify_compares_what_runs_on_the_device_with_the_interpreter() -> None:
    run("""
    from graphc.runtime import targets_cuda
    from graphc.runtime.check import WrongPass
    w = gc.Variable(np.ones((5, 3), np.float32), name="w")
    x = gc.placeholder(gc.float32, [4, 5], name="x")
    y = gc.nn.softmax(gc.matmul(x, w))
    step = gc.assign_add(w, gc.gradients(gc.reduce_sum(y * y), w)[0])
    with gc.Session(config=gc.ConfigProto(device="gpu")) as session:
        session.run(w.initializer)
        session.run([y, step], {x: np.ones((4, 5), np.float32)})
        refused = error_of(session.bisect, y, {x: np.ones((4, 5), np.float32)})
        assert refused.startswith("ValueError: bisect compares what runs on a CPU, step by step, and this is for /job:localhost/"), refused
    real = targets_cuda.run_repeatedly
    def wrong(*arguments):
        outputs, state = real(*arguments)[0]
        return [([value + 1 for value in outputs], state)]
    targets_cuda.run_repeatedly = wrong
    with gc.Session(config=gc.ConfigProto(device="gpu")) as session:
        session.run(w.initializer)
        assert "WrongPass: machine code changed output 0" in error_of(session.run, y, {x: np.ones((4, 5), np.float32)})
    """, GRAPHC_VERIFY="1")
