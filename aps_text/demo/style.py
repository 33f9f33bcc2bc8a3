"""The page's style, in the colours of the page an answer is kept as, and its scroll."""

from __future__ import annotations

__all__ = ["SCROLLS", "STYLE"]

LIGHT = """--ink: #1c1f23; --soft: #5c636b; --line: #d9dce0; --card: #ffffff; --early: #d7e6fa;
 --late: #f6b98a; --anchor: #0b7a43; --on: #ffffff; --open: #e9ebee; --s0: #5f6670; --s1: #0b62c4;
 --bad: #a3231c; --warn: #b26a00;"""
DARK = """--ink: #e7e9ec; --soft: #a2abb5; --line: #383e46; --card: #1d2126; --early: #1f3a5f;
 --late: #8a4a17; --anchor: #6fd39b; --on: #0d1a12; --open: #2c3138; --s0: #aab2bc; --s1: #6fb1ff;
 --bad: #ff9b94; --warn: #e8a94c;"""
STYLE = (
    f".aps {{ {LIGHT} color: var(--ink); }} .dark .aps {{ {DARK} }}"
    """
.aps h3 { font-size: 14px; margin: 0 0 6px; font-weight: 600; color: var(--ink); }
.aps .soft { color: var(--soft); font-size: 13px; margin: 6px 0; }
.aps .bad { color: var(--bad); border: 1px solid var(--bad); border-radius: 8px; padding: 10px 12px;
  white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.aps .warning { color: var(--ink); font-size: 15px; margin: 8px 0; padding: 2px 0 2px 10px;
  border-left: 4px solid var(--warn); overflow-wrap: anywhere; }
.aps.starting { min-height: 85vh; } /* so that the page can be scrolled to it */
.aps .sides { display: grid; gap: 14px; margin: 10px 0;
  grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); }
.aps .curves { grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); }
.aps .curves .card { max-width: 560px; }
.aps h3 .soft { font-weight: 400; } .aps .links a { margin-right: 14px; }
.aps .card { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 14px; min-width: 0; }
@supports (grid-template-rows: subgrid) { .aps .sides:not(.curves) .card {
  display: grid; grid-row: span 5; grid-template-rows: subgrid; row-gap: 0; } }
.aps .canvas { font-size: 17px; line-height: 1.75; margin: 0 0 8px; overflow-wrap: anywhere;
  min-height: 5.2em; color: var(--ink); }
.aps .token { border-radius: 4px; padding: 1px 2px; unicode-bidi: isolate;
  background: color-mix(in srgb, var(--late) calc(var(--t, 0) * 100%), var(--early)); }
.aps .token.given { background: none; color: var(--soft); }
.aps .token.end { font-size: 11px; vertical-align: 2px; }
.aps .token.open { background: var(--open); display: inline-block; width: 1.9em; height: 1.05em;
  vertical-align: -2px; }
.aps .token.anchor { background: var(--anchor); color: var(--on); font-weight: 600; }
.aps .answer { border-top: 1px solid var(--line); padding-top: 8px; margin: 0; color: var(--ink);
  white-space: pre-line; overflow-wrap: anywhere; }
.aps .scores { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 13px; margin: 6px 0;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; color: var(--ink); }
.aps .legend { display: flex; flex-wrap: wrap; gap: 4px 18px; }
.aps .legend i { font-style: normal; } .aps .legend .open { width: 1.6em; }
.aps .scale { display: inline-block; width: 90px; height: 11px; border-radius: 3px; margin: 0 4px;
  vertical-align: -1px; background: linear-gradient(to right, var(--early), var(--late)); }
.aps svg { display: block; width: 100%; max-width: 460px; height: auto; margin-top: 6px; }
.aps svg text { fill: var(--soft); font: 14px system-ui, "DejaVu Sans", sans-serif; }
.aps .axis { stroke: var(--line); } .aps .curve { fill: none; stroke-width: 2; }
.aps .level { stroke-width: 1.4; stroke-dasharray: 5 4; }
.aps svg .s0 { stroke: var(--s0); } .aps svg .s1 { stroke: var(--s1); }
.aps .key { display: inline-block; width: 18px; border-top: 3px solid; margin-right: 6px;
  vertical-align: 4px; } .aps .key.s0 { border-color: var(--s0); }
.aps .key.s1 { border-color: var(--s1); }
.aps iframe { width: 100%; height: 1200px; border: 1px solid var(--line); border-radius: 8px;
  color-scheme: light; } .dark .aps iframe { color-scheme: dark; }
.aps table { border: 0 !important; border-collapse: collapse; width: 100%; font-size: 13px; }
.aps td, .aps th { border: 0 !important; border-bottom: 1px solid var(--line) !important;
  padding: 6px 14px !important; text-align: left; vertical-align: top; overflow-wrap: anywhere;
  color: var(--ink); }
.aps .pictures { display: flex; flex-wrap: wrap; gap: 14px; margin: 10px 0; }
.aps .pictures figure { margin: 0; width: min(168px, 36vw); }
.aps .pictures img { width: 100%;
  image-rendering: pixelated; border: 1px solid var(--line); border-radius: 6px; display: block; }
.aps .pictures figcaption { font-size: 12.5px; color: var(--soft); margin-top: 4px; }
"""
)

SCROLLS = """() => {
  const box = document.querySelector("#%s"), top = box.getBoundingClientRect().top;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (top < 0 || top > innerHeight / 3)
    box.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
}"""
"""Brings the buttons, with the result below them, into view."""
