"""The ratios as an SVG for the docs: a line a row, a dot a peer, left of the line at 1 where doorward takes less."""

from __future__ import annotations

from html import escape
from pathlib import Path

from .report import Results
from .stats import Summary

COLOURS = ("#009e73", "#0072b2", "#d55e00", "#cc79a7", "#56b4e9")
"""Told apart with any colour vision (Okabe and Ito)."""
INK, FAINT = "#24292f", "#d0d7de"
LEFT, WIDTH, RIGHT, LINE, TOP, BOTTOM = 360, 460, 40, 26, 72, 48
LARGEST = 2.0
"""Ratios above it are drawn there, with their number."""


def draw(results: Results) -> str:
    """The whole picture."""
    first, *others = results.contenders
    rows = [
        (row.title, {other: found for other in others if (found := results.ratio(case, row, other))})
        for case, row in results.rows()
    ]
    rows = [(title, ratios) for title, ratios in rows if ratios]
    height = TOP + LINE * len(rows) + BOTTOM
    width = LEFT + WIDTH + RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        words(16, 24, f"What {first} takes, as a part of what others take", size=16, weight="600"),
        *legend(first, others),
        *axis(height),
    ]
    for n, (title, ratios) in enumerate(rows):
        y = TOP + LINE * n + LINE / 2
        parts.append(words(LEFT - 14, y + 4, title, anchor="end"))
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}" stroke="{FAINT}" stroke-width="0.5"/>')
        for other, found in ratios.items():
            parts += dot(y, found, COLOURS[others.index(other) % len(COLOURS)], other)
    date = escape(str(results.about.get("date", "")))
    parts.append(words(16, height - 12, f"CPU time, memory or time; medians, whiskers from least to most. {date}",
                       size=11, fill="#57606a"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def legend(first: str, others: list[str]) -> list[str]:
    parts, x = [], 16
    for n, other in enumerate(others):
        colour = COLOURS[n % len(COLOURS)]
        parts.append(f'<circle cx="{x + 5}" cy="44" r="5" fill="{colour}"/>')
        text = f"{first} / {other}"
        parts.append(words(x + 16, 48, text))
        x += 44 + 7 * len(text)
    return parts


def axis(height: int) -> list[str]:
    parts = []
    for step in range(0, 9):
        value = step * 0.25
        x, y = place(value), height - BOTTOM
        weight = 1.6 if value == 1 else 0.5
        colour = INK if value == 1 else FAINT
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 4}" y2="{y}" stroke="{colour}" stroke-width="{weight}"/>')
        if step % 2 == 0:
            parts.append(words(x, y + 16, f"{value:g}", anchor="middle", size=11, fill="#57606a"))
    return parts


def dot(y: float, found: Summary, colour: str, name: str) -> list[str]:
    x = place(found.median)
    title = f"<title>{escape(name)}: {found.median:.2f} ({found.low:.2f} to {found.high:.2f})</title>"
    parts = [f'<line x1="{place(found.low)}" x2="{place(found.high)}" y1="{y}" y2="{y}" stroke="{colour}" '
             f'stroke-width="2" opacity="0.5"/>',
             f'<circle cx="{x}" cy="{y}" r="5" fill="{colour}">{title}</circle>']
    if found.median > LARGEST:
        parts.append(words(x - 9, y + 4, f"{found.median:.1f} →", anchor="end", size=11, fill=colour))
    return parts


def place(value: float) -> float:
    """Where a ratio stands, in pixels."""
    return round(LEFT + WIDTH * min(max(value, 0.0), LARGEST) / LARGEST, 1)


def words(x: float, y: float, text: str, anchor: str = "start", size: int = 13, weight: str = "normal",
          fill: str = INK) -> str:
    return (f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
            f'fill="{fill}">{escape(text)}</text>')


def save(results: Results, path: Path) -> None:
    path.write_text(draw(results))
