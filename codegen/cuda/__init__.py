"""The CUDA printer: scheduled kernel IR in, CUDA C and machine code out. Last room before the runtime on a GPU."""
