"""Line charts with bands, as small SVG files that are the same for the same numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 150, 32, 40
COLOURS = ("#0b62a4", "#d1495b", "#2e8b57", "#8a5fbf", "#c98a00", "#555555", "#17a2b8", "#a0522d")


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, mean, half the height of the band around it)."""

    name: str
    points: Sequence[tuple[float, float, float]]


def chart(title: str, across: str, up: str, curves: Sequence[Curve]) -> str:
    """An SVG document: curves with their bands, two axes with ticks, and a legend."""
    right = max(x for curve in curves for x, _, _ in curve.points)
    top = max(mean + band for curve in curves for _, mean, band in curve.points) or 1.0

    def place(x: float, y: float) -> str:
        across_px = LEFT + (WIDTH - LEFT - RIGHT) * x / right
        down_px = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * max(y, 0.0) / top
        return f"{across_px:.1f},{down_px:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{title}</title>",
        '<g font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{title}</text>',
        f'<text x="{(WIDTH + LEFT - RIGHT) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{across}</text>',
        f'<text transform="translate(14 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{up}</text>',
    ]
    for step in range(5):
        x, y = right * step / 4, top * step / 4
        low, high = place(x, 0.0).split(","), place(0.0, y).split(",")
        parts.append(
            f'<text x="{low[0]}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{x:,.0f}</text>'
            f'<text x="{LEFT - 6}" y="{float(high[1]) + 4:.1f}" text-anchor="end">{y:,.3g}</text>'
            f'<path d="M{LEFT},{high[1]}H{WIDTH - RIGHT}" stroke="#dddddd"/>'
        )
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        upper = [place(x, mean + band) for x, mean, band in curve.points]
        lower = [place(x, mean - band) for x, mean, band in reversed(curve.points)]
        line = [place(x, mean) for x, mean, _ in curve.points]
        height = TOP + 8 + 18 * number
        parts.append(
            f'<polygon points="{" ".join(upper + lower)}" fill="{colour}" fill-opacity="0.15"/>'
            f'<polyline points="{" ".join(line)}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
            f'<path d="M{WIDTH - RIGHT + 10},{height}h18" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{WIDTH - RIGHT + 34}" y="{height + 4}">{curve.name}</text>'
        )
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def averaged(runs: Mapping[str, Sequence[Sequence[float]]], every: int, scale: float = 1.0) -> list[Curve]:
    """Curves of the mean over runs of running values, with a band of one standard error each side."""
    return [
        Curve(name, [_point(at, [run[at - 1] * scale for run in found]) for at in _ticks(found, every)])
        for name, found in runs.items()
    ]


def _ticks(found: Sequence[Sequence[float]], every: int) -> Sequence[int]:
    return range(every, min(map(len, found)) + 1, every)


def _point(at: int, values: Sequence[float]) -> tuple[float, float, float]:
    count = len(values)
    mean = sum(values) / count
    variance = sum((value - mean) ** 2 for value in values) / max(count - 1, 1)
    return at, mean, (variance / count) ** 0.5
