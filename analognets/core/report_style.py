"""How reports look, in light, dark, on paper and on a phone, and the script that sorts their tables."""

from __future__ import annotations

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c1f23;--soft:#545b64;--line:#d5d9de;--tint:#f3f5f7;--accent:#005a9c}
@media (prefers-color-scheme:dark){
:root{--paper:#14171a;--ink:#e8eaed;--soft:#a9b1ba;--line:#3a4149;--tint:#1f2429;--accent:#74bdf5}
svg{filter:invert(1) hue-rotate(180deg)}}
*{box-sizing:border-box}
body{font:1rem/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:1.5rem 1.25rem 3rem;
background:var(--paper);color:var(--ink)}
h1{font-size:1.15rem;font-weight:600;margin:0 0 1rem;color:var(--soft);overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:2.2rem 0 .6rem;overflow-wrap:anywhere}
p{margin:.4rem 0;overflow-wrap:anywhere}
.question{font-size:1.45rem;line-height:1.3;font-weight:650;text-wrap:balance}
.answer{font-size:1.2rem;line-height:1.45;margin:.8rem 0;padding:.6rem 0 .6rem 1rem;border-left:4px solid var(--accent)}
.statement,figcaption,.notes{color:var(--soft);font-size:.925rem}
figure{margin:1.8rem 0}
figure svg{display:block;height:auto;max-width:100%;min-width:min(100%,30rem)}
figure svg text{font-family:system-ui,sans-serif}
figcaption{margin-top:.4rem}
.scroll{overflow-x:auto}.scroll+.scroll{margin-top:1.8rem}
.scroll:focus-visible,button:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;font-size:.925rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .8rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{border-bottom:2px solid var(--soft);vertical-align:bottom}
th:first-child,td:first-child{padding-left:.2rem}
tbody tr:hover{background:var(--tint)}
th button{all:unset;cursor:pointer;font-weight:inherit}
th button::after{content:"\\2195";padding-left:.3em;color:var(--soft);font-weight:400}
th[aria-sort=ascending] button::after{content:"\\2191";color:var(--accent)}
th[aria-sort=descending] button::after{content:"\\2193";color:var(--accent)}
.facts td:first-child{color:var(--soft);width:11rem}.facts td{overflow-wrap:anywhere}
.facts{table-layout:fixed;width:100%}
footer{margin-top:2.6rem;border-top:1px solid var(--line)}
pre{background:var(--tint);padding:.8rem;overflow-x:auto;font-size:.85rem;border-radius:4px}
@media (max-width:40rem){.facts td:first-child{width:7rem}
body{padding:1rem .9rem 2rem}.question{font-size:1.2rem}.answer{font-size:1.05rem}
figure svg{min-width:0}figure svg.wide{min-width:40rem;max-width:none}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--tint:#fff;--accent:#005a9c}
svg{filter:none}body{max-width:none;padding:0;font-size:10pt}figure,tr{break-inside:avoid}h2{break-after:avoid}
.scroll{overflow:visible}th button::after{content:none!important}pre{white-space:pre-wrap;overflow-wrap:anywhere}}
"""

SCRIPT = """
"use strict";
const next = {none: "ascending", ascending: "descending", descending: "none"};
for (const table of document.querySelectorAll("table[id]")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], rows = [...body.rows];
  const keys = new Map(rows.map((row) => [row, JSON.parse(row.dataset.keys)]));
  const sort = (column, way) => {
    const sign = way === "descending" ? -1 : 1, number = "number" in heads[column].dataset;
    const compare = (a, b) => {
      if (!number) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
      const one = keys.get(a)[column], two = keys.get(b)[column];
      if (one === null || two === null) return (one === null) - (two === null);
      return sign * (one - two);
    };
    body.append(...(way === "none" ? rows : [...rows].sort(compare)));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    if (way !== "none") heads[column].setAttribute("aria-sort", way);
  };
  heads.forEach((head, column) => {
    if (rows.length < 2 || !head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column, next[head.getAttribute("aria-sort") || "none"]));
    head.append(button);
  });
}
"""
