"""Line charts with bands, as small SVG files that are the same for the same numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.frontier.resampling import interval_of_mean, mean

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 150, 32, 40
COLOURS = ("#0b62a4", "#d1495b", "#2e8b57", "#8a5fbf", "#c98a00", "#555555", "#17a2b8", "#a0522d")


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, mean, lower and upper end of the band around it)."""

    name: str
    points: Sequence[tuple[float, float, float, float]]


def chart(title: str, across: str, up: str, curves: Sequence[Curve]) -> str:
    """An SVG document: curves with their bands, two axes with ticks, and a legend."""
    right = max(x for curve in curves for x, *_ in curve.points)
    top = max(high for curve in curves for *_, high in curve.points) or 1.0

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
        upper = [place(x, high) for x, _, _, high in curve.points]
        lower = [place(x, low) for x, _, low, _ in reversed(curve.points)]
        line = [place(x, middle) for x, middle, _, _ in curve.points]
        height = TOP + 8 + 18 * number
        parts.append(
            f'<polygon points="{" ".join(upper + lower)}" fill="{colour}" fill-opacity="0.15"/>'
            f'<polyline points="{" ".join(line)}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
            f'<path d="M{WIDTH - RIGHT + 10},{height}h18" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{WIDTH - RIGHT + 34}" y="{height + 4}">{curve.name}</text>'
        )
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def averaged(name: str, runs: Sequence[Sequence[float]], every: int) -> Curve:
    """The mean over runs of what each gives at every so many visits, with the band of its 90 % interval."""
    points: list[tuple[float, float, float, float]] = []
    for number, values in enumerate(zip(*runs, strict=False), 1):
        low, high = interval_of_mean(values)
        points.append((number * every, mean(values), low, high))
    return Curve(name, points)
