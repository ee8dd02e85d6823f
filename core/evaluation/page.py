"""Parts of a self-contained HTML page: style for light and dark, tables, line charts as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

STYLE = """
:root{color-scheme:light dark;--back:#fdfdfc;--text:#1c2329;--soft:#5a646e;--line:#d5dade;--good:#1e7d32;--fair:#8a5a00;
--bad:#b3261e;--c0:#0072b2;--c1:#c2410c;--c2:#00795a;--c3:#9b3f86;--c4:#7a5c00;--c5:#2f6fb7;--c6:#444b52;--c7:#b3261e}
@media(prefers-color-scheme:dark){:root{--back:#19232d;--text:#e0e1e3;--soft:#b2bac2;--line:#37474f;--good:#7bcf80;
--fair:#ffca28;--bad:#ff8a80;--c0:#6bb8f0;--c1:#ffa657;--c2:#4fd1a5;--c3:#e3a0d3;--c4:#e6c84f;--c5:#9ecbff;--c6:#d5dade;
--c7:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:32px auto;padding:0 16px;background:var(--back);
color:var(--text)}
h1{font-size:22px;margin:0 0 4px} h2{font-size:17px;margin:32px 0 8px} h3{font-size:15px;margin:16px 0 4px}
p{margin:4px 0 12px;color:var(--soft);max-width:75ch}
.wide{overflow-x:auto} table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:4px 12px 4px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top} .n{text-align:right}
td small{display:block;color:var(--soft)} th{font-weight:600}
img{max-width:100%;border-radius:4px} figure{margin:0 0 20px;display:inline-block} figcaption{color:var(--soft)}
svg{max-width:100%;height:auto} svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
.legend{list-style:none;padding:0;margin:0 0 12px;display:flex;flex-wrap:wrap;gap:4px 20px} .legend svg{vertical-align:middle}
.good,.fair{color:var(--good)} .poor{color:var(--fair)} .bad,.failed{color:var(--bad)}
"""
_NUM_COLOURS = 8
_DASHES = ("", "7 3", "2 3")
_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 42


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart: y in percent at each x; ``number`` decides its colour and dashes."""

    name: str
    number: int
    x: Sequence[float]
    y: Sequence[float]


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page that needs no other file; its title is the first heading."""
    head = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    return "\n".join(
        [f"{head}<title>{escape(title)}</title><style>{STYLE}</style>", f"<h1>{escape(title)}</h1>", *parts, "</html>"]
    )


def escape(text: object) -> str:
    return html.escape(str(text))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], first_number: int) -> str:
    """Cells are HTML already; columns from ``first_number`` on are numbers."""

    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=n' if i >= first_number else ''}>{value}</{tag}>" for i, value in enumerate(values))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{cells('th', [escape(name) for name in header])}</tr>{body}</table></div>"


def legend(curves: Sequence[Curve]) -> str:
    """The names of the lines, each with a piece of its line."""
    items = (
        f'<li><svg width="34" height="8" aria-hidden="true"><line x1="0" y1="4" x2="34" y2="4" {_stroke(curve.number)}/></svg> '
        f"{escape(curve.name)}</li>"
        for curve in curves
    )
    return f"<ul class=legend>{''.join(items)}</ul>"


def chart(curves: Sequence[Curve], x_title: str, ticks: Sequence[float], marks: Sequence[float], caption: str) -> str:
    """Percent over a logarithmic axis from the first to the last of ``ticks``; ``marks`` are dotted lines."""
    low, high = math.log(ticks[0]), math.log(ticks[-1])

    def x_of(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log(value) - low) / (high - low)

    parts = [_across(percent) for percent in (0, 25, 50, 75, 100)]
    parts += [f'<text x="{x_of(t):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{t:g}</text>' for t in ticks]
    parts += [_upright(x_of(mark)) for mark in marks]
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>')
    for curve in curves:
        points = " ".join(f"{x_of(x):.1f},{_y_of(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        parts.append(
            f'<polyline fill="none" {_stroke(curve.number)} points="{points}"><title>{escape(curve.name)}</title></polyline>'
        )
    label = escape(caption)
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f"<figcaption>{label}</figcaption></figure>"
    )


def _stroke(number: int) -> str:
    dashes = _DASHES[number // _NUM_COLOURS % len(_DASHES)]
    return f'stroke="var(--c{number % _NUM_COLOURS})" stroke-width="2"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _y_of(percent: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * percent / 100


def _across(percent: float) -> str:
    y = _y_of(percent)
    line = f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="var(--line)"/>'
    return f'{line}<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>'


def _upright(x: float) -> str:
    top, bottom = _TOP, _HEIGHT - _BOTTOM
    return f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="var(--soft)" stroke-dasharray="1 3"/>'
