"""Render small charts side by side as SVG: one measure each, over the same sizes on a logarithmic axis."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 230, 170  # pixels of one panel
LEFT, TOP, RIGHT, BOTTOM = 18, 44, 18, 30  # pixels around the plot
HEADROOM = 1.4  # the end of the axis above the highest value
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#57606a}.name{font-weight:600;fill:#24292f}"
    "path{fill:none;stroke:#0969da;stroke-width:2}circle{fill:#0969da}line{stroke:#d0d7de}"
)


def drawn(sizes: Sequence[int], measures: Mapping[str, Sequence[float]]) -> str:
    """Return the SVG of all measures. The axes begin at 0, so that flat lines look flat."""
    panels = [
        f'<g transform="translate({WIDTH * number} 0)">{_panel(name, sizes, values)}</g>'
        for number, (name, values) in enumerate(measures.items())
    ]
    width = WIDTH * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}">\n'
        f'<style>{STYLE}</style>\n<rect width="{width}" height="{HEIGHT}" fill="#fff"/>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def _panel(name: str, sizes: Sequence[int], values: Sequence[float]) -> str:
    floor, top = HEIGHT - BOTTOM, max(values) * HEADROOM
    first, last = math.log(sizes[0]), math.log(sizes[-1])
    points = [
        (
            LEFT + (WIDTH - LEFT - RIGHT) * (math.log(size) - first) / ((last - first) or 1),
            floor - (floor - TOP) * value / top,
        )
        for size, value in zip(sizes, values, strict=True)
    ]
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
        f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{_figure(value)}</text>'
        f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle">{_short(size)}</text>'
        for (x, y), size, value in zip(points, sizes, values, strict=True)
    )
    way = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    axis = f'<line x1="{LEFT}" y1="{floor}" x2="{WIDTH - RIGHT}" y2="{floor}"/>'
    return f'<text class="name" x="{LEFT}" y="20">{escape(name)}</text>{axis}<path d="{way}"/>{marks}'


def _short(size: int) -> str:
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if size >= unit:
            return f"{size / unit:g}{name}"
    return str(size)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
