"""The page's style sheet, with light and dark colours by the reader's setting."""

from __future__ import annotations

__all__ = ["SERIES", "STYLE"]

SERIES = 8
"""Number of colours; further methods reuse them."""

STYLE = """
:root { color-scheme: light dark;
  --page: #fbfbf9; --card: #ffffff; --ink: #1c1f23; --soft: #5c636b; --line: #d9dce0;
  --early: #d7e6fa; --late: #f6b98a; --good: #0b6b3a; --bad: #a4262c; --loud: #b00020;
  --c0: #5f6670; --c1: #0b62c4; --c2: #c25100; --c3: #7a3db8; --c4: #00796b; --c5: #ad1457;
  --c6: #6d6a00; --c7: #00708f; }
@media (prefers-color-scheme: dark) { :root {
  --page: #15181c; --card: #1d2126; --ink: #e7e9ec; --soft: #a2abb5; --line: #383e46;
  --early: #1f3a5f; --late: #8a4a17; --good: #6fd39b; --bad: #ff9a94; --loud: #ff5d6c;
  --c0: #aab2bc; --c1: #6fb1ff; --c2: #ff9f57; --c3: #cf9cff; --c4: #4fd1bd; --c5: #ff8ab5;
  --c6: #d6cf4f; --c7: #5fd0ee; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.45;
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 20px 60px; overflow-wrap: anywhere; }
.wide { overflow-wrap: normal; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 8px; }
h3 { font-size: 15px; margin: 22px 0 6px; white-space: pre-line; }
p { margin: 6px 0; max-width: 80ch; } .soft { color: var(--soft); font-size: 13px; }
code, pre { font: 12.5px/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 10px 12px; white-space: pre-wrap; overflow-wrap: anywhere; margin: 8px 0; }
.loud { border: 2px solid var(--loud); border-radius: 6px; padding: 8px 12px; margin: 12px 0; }
.loud b, b.loud-word { color: var(--loud); }
.wide { overflow-x: auto; /* with a shadow at the side to which the table goes on */
  background: right / 2rem 100% no-repeat local
    linear-gradient(to left, var(--page) 40%, transparent),
    right / .6rem 100% no-repeat scroll
    linear-gradient(to left, rgb(128 128 128 / .5), transparent); }
.wide table { background: none; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums;
  background: var(--card); }
th, td { border: 1px solid var(--line); padding: 5px 8px; text-align: left; vertical-align: top; }
th { font-weight: 600; }
.wide th:first-child, .wide td:first-child { position: sticky; left: 0;
  background: var(--card); } td.number { white-space: nowrap; }
.gap { display: block; color: var(--soft); font-size: 12px; font-weight: 400; }
.better { color: var(--good); font-weight: 600; } .worse { color: var(--bad);
  font-weight: 600; }
td.guided { outline: 2px solid var(--loud); outline-offset: -2px; }
.panels { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 8px; max-width: 100%; }
figure.narrow { max-width: 358px; }
figcaption { font-size: 13px; padding: 0 4px 4px; }
figcaption .soft { font-size: 12px; }
svg { display: block; max-width: 100%; height: auto; }
svg.line { display: inline-block; width: 28px; height: 8px; margin-right: 6px; }
svg text { fill: var(--soft);
  font: 11px system-ui, "DejaVu Sans", sans-serif; }
svg .axis { stroke: var(--line); stroke-width: 1; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; margin: 8px 0; }
figure .legend { font-size: 12px; padding: 0 4px; margin: 4px 0 0; }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 6px; margin-right: 6px;
  vertical-align: -1px; }
.examples { display: grid; grid-template-columns: repeat(auto-fit, minmax(270px, 1fr)); gap: 10px; }
.answer { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 8px 10px; min-width: 0; overflow-wrap: anywhere; }
.answer header { font-size: 13px; font-weight: 600; margin-bottom: 4px; }
.text { white-space: pre-wrap; } .scores { color: var(--soft); font-size: 12px; margin-top: 6px; }
.token { border-radius: 3px;
  background: color-mix(in srgb, var(--late) calc(var(--t) * 100%), var(--early)); }
.token, td, bdi { unicode-bidi: isolate; }
.scale { display: inline-block; width: 120px; height: 12px; border-radius: 3px; margin: 0 6px;
  vertical-align: -1px; background: linear-gradient(to right, var(--early), var(--late)); }
details > summary { cursor: pointer; }
"""

STYLE += "".join(
    f".k{i} {{ background: var(--c{i}); }} svg .f{i} {{ fill: var(--c{i}); }} "
    f"svg .l{i} {{ stroke: var(--c{i}); fill: none; stroke-width: 1.8; }}\n"
    for i in range(SERIES)
)
