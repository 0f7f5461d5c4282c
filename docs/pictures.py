"""Draws the pictures of the README and the GPU page from the compiler's output: `python docs/pictures.py`. Run it when passes change."""
from __future__ import annotations

from pathlib import Path

from graphc.arguments import PIPELINES
from graphc.compiled import compiled
from graphc.dump import flow_picture, picture
from graphc.pictures.canvas import Canvas
from graphc.pictures.stages import stage_bars

FOLDER = Path(__file__).resolve().parent / "pictures"


def main() -> None:
    """Writes docs/pictures/mlp.svg (stages and memory), mlp_flow.svg (kernels) and gpu.svg (launches and traffic on a GPU)."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "mlp.svg").write_text(picture("mlp").svg())
    (FOLDER / "mlp_flow.svg").write_text(flow_picture("mlp", compiled("mlp")).svg())
    (FOLDER / "gpu.svg").write_text(gpu_picture("sm_90").svg())


def gpu_picture(target: str) -> Canvas:
    """What fusion leaves of a training step's launches and of what they move, for the two models that train."""
    launches: list[tuple[str, int]] = []
    moved: list[tuple[str, int]] = []
    for model in ("mlp", "attention"):
        for pipeline in PIPELINES:
            plan = compiled(model, pipeline, target)
            label = f"{model} {'fused' if pipeline == 'default' else pipeline}"
            launches.append((label, len(plan.kernels)))
            moved.append((label, round(plan.bytes_moved / 1024)))
    sheets = [stage_bars("Launches", f"of one training step, {target}", launches),
              stage_bars("Memory traffic", "KiB that the kernels read and write", moved)]
    sheet = Canvas(sum(each.width for each in sheets), max(each.height for each in sheets))
    for number, each in enumerate(sheets):
        sheet.place(each, number * sheets[0].width, 0)
    return sheet


if __name__ == "__main__":
    main()
