"""A sheet as a PNG file, for what shows no SVG. The library that does it is an extra: `pip install graphc[png]`."""
from __future__ import annotations

from graphc.pictures.canvas import Canvas

_ZOOM = 2  # for screens with small pixels


def png(canvas: Canvas) -> bytes:
    """The file's content. ValueError as `check_png`."""
    check_png()
    import resvg_py
    return bytes(resvg_py.svg_to_bytes(svg_string=canvas.svg(), zoom=_ZOOM, sans_serif_family="DejaVu Sans"))


def check_png() -> None:
    """ValueError that names the extra where resvg is not installed."""
    try:
        import resvg_py  # noqa: F401
    except ImportError:
        raise ValueError("a PNG picture needs the package resvg_py: pip install 'graphc[png]' (SVG needs nothing)") from None
