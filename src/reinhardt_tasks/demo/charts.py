"""Charts as inline SVG (pure): every one has a title and a description for readers who do not see it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

WIDTH = 520
_BAR = 22
_LABEL = 150
_LEFT, _TOP, _HEIGHT, _BOTTOM = 50, 12, 190, 44


def bars(title: str, told: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars: (label, value, value as text), longest scale to the full width."""
    most = max((value for _, value, _ in rows), default=0) or 1
    room = WIDTH - _LABEL - 70
    parts = []
    for row, (label, value, text) in enumerate(rows):
        middle = row * _BAR + 15
        length = value / most * room
        said = f"<title>{escape(f'{label}: {text}')}</title>"
        box = f'x="{_LABEL}" y="{row * _BAR + 3}" width="{length:.1f}" height="{_BAR - 6}" rx="2"'
        parts += [
            f'<text x="{_LABEL - 8}" y="{middle}" class="label end">{escape(_cut(label, 18))}</text>',
            f'<rect {box} class="mark">{said}</rect>',
            f'<text x="{_LABEL + length + 6:.1f}" y="{middle}" class="value">{escape(text)}</text>',
        ]
    return _svg(title, told, len(rows) * _BAR + 4, parts)


def columns(title: str, told: str, rows: Sequence[tuple[str, float]], *, axis: str) -> str:
    """Vertical bars over labelled places on the horizontal axis, which `axis` names."""
    top = nice(max((value for _, value in rows), default=0))
    wide = (WIDTH - _LEFT) / max(1, len(rows))
    every = ceil(len(rows) / 14)
    parts = _scale(top)
    for place, (label, value) in enumerate(rows):
        left, high = _LEFT + place * wide, value / top * _HEIGHT
        parts.append(
            f'<rect x="{left + 1:.1f}" y="{_TOP + _HEIGHT - high:.1f}" width="{max(1.0, wide - 2):.1f}" '
            f'height="{high:.1f}" class="mark"><title>{escape(f"{label}: {value:,.0f}")}</title></rect>'
        )
        if place % every == 0:
            parts.append(_below(left + wide / 2, label))
    return _svg(title, told, _TOP + _HEIGHT + _BOTTOM, [*parts, _axis_name(axis)])


def area(
    title: str, told: str, values: Sequence[float], *, step: float, axis: str, marker: tuple[float, str] | None = None
) -> str:
    """A filled line: one value per `step` of the horizontal axis; `marker` is a place on it and what happened there."""
    top = nice(max(values, default=0))
    span = max(len(values) - 1, 1)
    room = WIDTH - _LEFT - 8
    points = [
        f"{_LEFT + place / span * room:.1f},{_TOP + _HEIGHT - value / top * _HEIGHT:.1f}"
        for place, value in enumerate(values)
    ]
    floor = _TOP + _HEIGHT
    parts = [
        *_scale(top),
        f'<polygon points="{_LEFT},{floor} {" ".join(points)} {_LEFT + room},{floor}" class="fill"/>',
        f'<polyline points="{" ".join(points)}" class="line"/>',
        *(_below(_LEFT + at / (span * step) * room, f"{at:g}") for at in ticks(span * step)),
    ]
    if marker is not None:
        parts += _marker(_LEFT + min(marker[0] / step, span) / span * room, marker[1])
    return _svg(title, told, floor + _BOTTOM, [*parts, _axis_name(axis)])


def _marker(x: float, text: str) -> list[str]:
    side, gap = ("end", -6) if x > WIDTH * 0.6 else ("", 6)
    return [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TOP + _HEIGHT}" class="marker"/>',
        f'<text x="{x + gap:.1f}" y="{_TOP + 10}" class="label warn {side}">{escape(text)}</text>',
    ]


def _scale(top: float) -> list[str]:
    """Four lines across, with their values at the left."""
    parts = []
    for quarter in range(5):
        y = _TOP + _HEIGHT - quarter / 4 * _HEIGHT
        parts += [
            f'<line x1="{_LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="label end">{top * quarter / 4:,g}</text>',
        ]
    return parts


def _below(x: float, label: str) -> str:
    return f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 16}" class="label middle">{escape(label)}</text>'


def _axis_name(text: str) -> str:
    return f'<text x="{(_LEFT + WIDTH) / 2}" y="{_TOP + _HEIGHT + 37}" class="label middle">{escape(text)}</text>'


def _svg(title: str, told: str, height: float, parts: Sequence[str]) -> str:
    """The picture; its ids come from its title, so that several fit on one page."""
    name = re.sub(r"\W+", "-", title.lower())
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="{name}-title {name}-told">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-told">{escape(told)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def nice(value: float) -> float:
    """The next of 4, 6, 8, 10, 12, 16, 20, 40, 60, 80, 100, 120 … at or above `value`."""
    if value <= 4:
        return 4.0
    power = 10.0 ** int(log10(value))
    return next(step * power for step in (1, 1.2, 1.6, 2, 4, 6, 8, 10) if step * power >= value)


def ticks(length: float) -> list[float]:
    """From 0 to `length` at most, by the smallest of … 0.5, 1, 2, 5, 10, 20, 50 … that makes eight steps or fewer."""
    power = 10.0 ** floor(log10(length / 8))
    step = next(size * power for size in (1, 2, 5, 10) if length / (size * power) <= 8 + 1e-9)
    return [round(mark * step, 9) for mark in range(int(length / step + 1e-9) + 1)]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
