"""CUDA without a GPU: kernel text on the CPU (`host`), the real pycuda on a fake driver (`fake_driver.cpp`, `fake_cublaslt.cpp`)."""
