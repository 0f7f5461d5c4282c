"""The room of code: Programs become kernels in one small language of loops (`ir`), kernels become machine code."""
