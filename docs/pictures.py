"""Draws the pictures of the README from the real compiler's output: `python docs/pictures.py`. Run it when the passes have changed."""
from __future__ import annotations

from pathlib import Path

from graphc.dump import compiled, flow_picture, picture

FOLDER = Path(__file__).resolve().parent / "pictures"


def main() -> None:
    """Writes docs/pictures/mlp.svg (stages and memory) and docs/pictures/mlp_flow.svg (kernels)."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "mlp.svg").write_text(picture("mlp").svg())
    (FOLDER / "mlp_flow.svg").write_text(flow_picture("mlp", compiled("mlp")).svg())


if __name__ == "__main__":
    main()
