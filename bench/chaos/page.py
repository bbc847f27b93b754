"""The report as one page that needs nothing else: figures, a table of the faults, and curves drawn as inline SVG."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000, 58, 12, 10, 22
_LANE_HEIGHT = 17
_GAP_SECONDS = 3.0  # looks further apart than this had nothing to see in between
_CURVES = (
    ("accepted", "orders accepted", "#5b6b7d"),
    ("paid", "told as paid", "#1d7f5c"),
    ("refunded", "refunds told as ended", "#b5651d"),
)


def render(told: Mapping[str, Any]) -> str:
    """Make the page of a campaign's document."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("campaign.html")
    rows = sorted(told["rows"], key=lambda row: row["row"])
    return template.render(told=told, rows=rows, load=_load(told), backlog=_backlog(told), storm=_storm(told))


class _Plot:
    """A frame with axes; x is seconds from the start."""

    def __init__(self, seconds: float, top: float, *, height: int = 190) -> None:
        self.height = height
        self._seconds = max(seconds, 1.0)
        self._top = max(top, 1.0)
        self._parts: list[str] = []

    def x(self, at: float) -> float:
        return _LEFT + at / self._seconds * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return self.height - _BOTTOM - value / self._top * (self.height - _TOP - _BOTTOM)

    def add(self, part: str) -> None:
        self._parts.append(part)

    def curve(self, points: Sequence[tuple[float, float | None]], colour: str, *, fill: bool = False) -> None:
        """A line through the points, broken where nothing was seen."""
        for piece in _pieces(points):
            path = " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in piece)
            if fill:
                first, last = self.x(piece[0][0]), self.x(piece[-1][0])
                self.add(
                    f'<polygon points="{first:.1f},{self.y(0):.1f} {path} {last:.1f},{self.y(0):.1f}" '
                    f'fill="{colour}" opacity="0.18"/>'
                )
            self.add(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')

    def axes(self, *, values: bool = True) -> None:
        base = self.height - _BOTTOM
        for second in _ticks(self._seconds, 12):
            x = self.x(second)
            self.add(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{base}" class="grid"/>')
            self.add(f'<text x="{x:.1f}" y="{self.height - 6}" text-anchor="middle">{_minutes(second)}</text>')
        for value in _ticks(self._top, 4) if values else ():
            y = self.y(value)
            self.add(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" class="grid"/>')
            self.add(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.0f}</text>')

    def shade(self, begin: float, end: float, css: str) -> None:
        left, right = self.x(begin), self.x(end)
        base = self.height - _BOTTOM
        self.add(f'<rect x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{base - _TOP}" class="{css}"/>')

    def svg(self, name: str) -> str:
        return (
            f'<svg viewBox="0 0 {_WIDTH} {self.height}" role="img" aria-label="{escape(name)}">'
            + "".join(self._parts)
            + "</svg>"
        )


def _load(told: Mapping[str, Any]) -> str:
    samples = told["samples"]
    plot = _Plot(_seconds(told), max(samples["accepted"] + samples["paid"] + samples["refunded"], default=0))
    plot.axes()
    for name, _, colour in _CURVES:
        plot.curve(list(zip(samples["at"], samples[name], strict=True)), colour)
    for number, (_, title, colour) in enumerate(_CURVES):
        y = _TOP + 14 + 16 * number
        plot.add(
            f'<line x1="{_LEFT + 12}" y1="{y - 4}" x2="{_LEFT + 34}" y2="{y - 4}" stroke="{colour}" stroke-width="2"/>'
        )
        plot.add(f'<text x="{_LEFT + 40}" y="{y}">{title}</text>')
    return plot.svg("Orders accepted, told as paid, refunds ended, over time")


def _backlog(told: Mapping[str, Any]) -> str:
    """The jobs that are due, with the times at which servers were away behind them."""
    samples = told["samples"]
    plot = _Plot(_seconds(told), max((value for value in samples["backlog"] if value is not None), default=0))
    for one in told["happened"]:
        if one["row"] in {4, 6, 12} and not one["missed"]:
            plot.shade(one["began"], one["ended"], "broker")
        if one["row"] == 5 and not one["missed"]:
            plot.shade(one["began"], one["ended"], "postgres")
    plot.axes()
    plot.curve(list(zip(samples["at"], samples["backlog"], strict=True)), "#7a3fa0", fill=True)
    return plot.svg("Jobs that are due, over time")


def _storm(told: Mapping[str, Any]) -> str:
    """Each row of the matrix as a strip, each fault as a mark as long as it lasted."""
    rows = sorted({one["row"] for one in told["happened"]})
    plot = _Plot(_seconds(told), 1.0, height=_TOP + _BOTTOM + _LANE_HEIGHT * max(len(rows), 1))
    plot.axes(values=False)
    for lane, row in enumerate(rows):
        y = _TOP + lane * _LANE_HEIGHT
        plot.add(f'<text x="{_LEFT - 6}" y="{y + 12}" text-anchor="end">{row}</text>')
        for one in told["happened"]:
            if one["row"] != row:
                continue
            left, right = plot.x(one["began"]), plot.x(one["ended"])
            css = "missed" if one["missed"] else f"mark r{row % 4}"
            title = escape(f"{one['what']} at {_minutes(one['began'])} {one['missed']}")
            plot.add(
                f'<rect x="{left:.1f}" y="{y + 2}" width="{max(right - left, 2.0):.1f}" '
                f'height="{_LANE_HEIGHT - 4}" class="{css}"><title>{title}</title></rect>'
            )
    return plot.svg("When each fault struck, by row of the matrix")


def _seconds(told: Mapping[str, Any]) -> float:
    return max(told["samples"]["at"], default=1.0)


def _pieces(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    seen = [(at, value) for at, value in points if value is not None]
    pieces: list[list[tuple[float, float]]] = [seen[:1]] if seen else []
    for before, after in pairwise(seen):
        if after[0] - before[0] > _GAP_SECONDS:
            pieces.append([])
        pieces[-1].append(after)
    return [piece for piece in pieces if len(piece) > 1]


def _ticks(top: float, wanted: int) -> Iterable[float]:
    """Round numbers up to `top`, about as many as wanted."""
    step = next(
        size * power for power in (1, 10, 100, 1_000, 10_000) for size in (1, 2, 3, 6) if top / (size * power) <= wanted
    )
    return [step * number for number in range(int(top / step) + 1)]


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
