"""Curves of an attack on logarithmic axes, as SVG: hits against false alarms here, on the twin, and what is allowed.

Drawn as text: a page has dozens of them, and each is three lines between two axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scipy.special import ndtr, ndtri

WIDTH, HEIGHT, LEFT, BELOW = 320, 230, 46, 40
LEAST = 1e-4  # of either axis
DECADES = 4
COLOURS = {"here": "#2563eb", "twin": "#b45309", "allowed": "#6b7280"}

Points = Sequence[tuple[float, float]]


def curves(finding: Mapping[str, Any]) -> str:
    """The figure of a finding with scores; nothing where trials were won or lost without any."""
    here, twin = (finding[side].get("curve") or () for side in ("ours", "twin"))
    if not here:
        return ""
    lines = {"here": here, "twin": twin, "allowed": allowed(finding["ceiling"])}
    drawn = "".join(_line(points, COLOURS[name], dashed=name == "allowed") for name, points in lines.items() if points)
    legend = "".join(_legend(place, name) for place, name in enumerate(lines))
    label = f"Hits against false alarms of {finding['name']}, both axes logarithmic from {LEAST:g} to 1"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{_safe(label)}" '
        f'font-family="system-ui, sans-serif" font-size="10" fill="#374151">{_axes()}{drawn}{legend}</svg>'
    )


def allowed(ceiling: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The most hits at each rate of false alarms: of Gaussian DP, or of (epsilon, delta); none without a guarantee."""
    alarms = [LEAST * 10 ** (DECADES * place / 40) for place in range(41)]
    if ceiling.get("mu") is not None:
        return [(alarm, float(ndtr(ndtri(alarm) + ceiling["mu"]))) for alarm in alarms]
    if ceiling.get("epsilon") is None:
        return []
    more, delta = math.exp(ceiling["epsilon"]), ceiling.get("delta") or 0.0
    return [(alarm, min(more * alarm + delta, 1 - (1 - alarm - delta) / more, 1.0)) for alarm in alarms]


def _axes() -> str:
    parts = []
    for decade in range(DECADES + 1):
        value = LEAST * 10**decade
        x, y = _across(value), _up(value)
        parts.append(f'<path d="M{x} {_up(1.0)}V{_up(LEAST)}M{_across(LEAST)} {y}H{_across(1.0)}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{x}" y="{HEIGHT - BELOW + 13}" text-anchor="middle">{value:g}</text>')
        parts.append(f'<text x="{LEFT - 4}" y="{y + 3}" text-anchor="end">{value:g}</text>')
    parts.append(f'<text x="{_across(0.01)}" y="{HEIGHT - 14}" text-anchor="middle">false alarms (log)</text>')
    parts.append(f'<text transform="translate(9 {_up(0.01)}) rotate(-90)" text-anchor="middle">hits (log)</text>')
    return "".join(parts)


def _line(points: Iterable[tuple[float, float]], colour: str, *, dashed: bool) -> str:
    places = " ".join(f"{_across(alarm)},{_up(hit)}" for alarm, hit in points)
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>'


def _legend(place: int, name: str) -> str:
    x = LEFT + 70 * place
    return (
        f'<path d="M{x} {HEIGHT - 4}h16" stroke="{COLOURS[name]}" stroke-width="2"/>'
        f'<text x="{x + 20}" y="{HEIGHT - 1}">{name}</text>'
    )


def _across(alarm: float) -> float:
    return round(LEFT + _part(alarm) * (WIDTH - LEFT - 14), 1)


def _up(hit: float) -> float:
    return round(8 + (1 - _part(hit)) * (HEIGHT - BELOW - 8), 1)


def _part(rate: float) -> float:
    return 1 + math.log10(min(max(rate, LEAST), 1.0)) / DECADES


def _safe(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
