"""The GPU's part of the runtime: devices, their memory, running launches and CUDA graphs, through PyCUDA and ctypes."""
