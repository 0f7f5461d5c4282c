"""Compiles a Program for a device, and gives the result its memory there. The one place that knows which kinds of devices there are."""
from __future__ import annotations

from graphc.core.program import Program
from graphc.runtime.bound import Bound, Runs, Surroundings
from graphc.runtime.compile import compile_program
from graphc.runtime.executable import DeviceExecutable, NativeExecutable
from graphc.runtime.placement import Device


def compile_for(device: Device, program: Program, around: Surroundings) -> DeviceExecutable:
    """`program` compiled for `device` as the session's settings say."""
    settings = around.settings
    return compile_program(program, settings.pipeline, settings.threads)


def bind(executable: DeviceExecutable, device: Device, around: Surroundings) -> Runs:
    """`executable` with its memory on `device`. ResourceExhaustedError where there is too little."""
    assert isinstance(executable, NativeExecutable)
    return Bound(executable, around)
