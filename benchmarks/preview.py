"""The preview builder on twelve generated posts: cold, unchanged, and with one post changed.

Each post has prose, mathematics, a citation, twelve code cells, of which four are exported, a table and a chart.
"""

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import altair as alt
import pandas as pd
from harness import Case

from blog.report.charts import show
from blog.site.parts import scratch
from blog.site.preview import build_site

ROOT = Path(__file__).resolve().parent.parent


def cell(kind: str, source: str, html: str = "") -> dict:
    shown = {"output_type": "display_data", "metadata": {}, "data": {"text/html": html}}
    own = {"outputs": [shown] if html else [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **own}


def post(number: int, chart: str, table: str) -> dict:
    front = f'---\ntitle: "Post {number}"\ndate: 2026-01-01\ncategories: [one, two]\npresets: {{smoke: "5 s"}}\n---'
    cells = [cell("raw", front), cell("code", f"#| default_exp post_{number}\n#| hide")]
    for part in range(12):
        prose = "A student learns from what its teacher says about every label. " * 12
        maths = "The loss is $T^2 \\sum_i p_i \\log (p_i / q_i)$, after @hinton2015distilling."
        lines = "\n".join(f"    total += {n} * width  # as in part {part}" for n in range(12))
        code = f"def part_{part}(width):\n    total = 0\n{lines}\n    return total"
        cells += [
            cell("markdown", f"## Part {part}\n\n{prose}{maths}"),
            cell("code", "#| export\n" * (part < 4) + code),
        ]
    return {
        "cells": [*cells, cell("code", "chart", chart), cell("code", "table", table)],
        "nbformat": 4,
        "metadata": {},
    }


def generated(root: Path, posts: int) -> None:
    "A checkout of that many posts."
    shutil.copytree(ROOT / "nbs/site/assets", root / "nbs/site/assets")
    shutil.copy(ROOT / "nbs/references.bib", root / "nbs")
    site = {"title": "Generated", "description": "For measuring", "site-url": "https://example.org"}
    site |= {"repo-url": "https://github.com/o/r", "repo-branch": "main"}
    site["navbar"] = {"left": [{"href": "index.qmd", "text": "Posts"}]}
    (root / "_quarto.yml").write_text(json.dumps({"website": site, "bibliography": "nbs/references.bib"}))  # is YAML
    for name in ("index", "about", "404"):
        (root / f"{name}.qmd").write_text("---\ntitle: Generated\n---\nWelcome.")
    data = pd.DataFrame({"step": range(60), "loss": [1 / (n + 1) for n in range(60)]})
    chart = alt.Chart(data, title="The loss falls").mark_line().encode(x="step", y="loss")
    drawn = show(chart, alt="A line that falls from 1 to 0.02.").html
    for number in range(posts):
        (root / f"nbs/post_{number}.ipynb").write_text(json.dumps(post(number, drawn, data.head(20).to_html())))


def cases() -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        root, turn = Path(folder), itertools.count()
        generated(root, 12)

        def cold() -> None:
            for made in (root / "_site", scratch(root)):  # pages are kept in the second
                shutil.rmtree(made, ignore_errors=True)
            build_site(root)

        def changed() -> None:
            one = root / "nbs/post_0.ipynb"
            one.write_text(one.read_text().replace("A student learns", f"A student learns {next(turn)}"))
            build_site(root)

        ways = {"everything anew": cold, "unchanged": lambda: build_site(root), "one post changed": changed}
        yield Case("preview of 12 posts", {name: lambda way=way: way() and None for name, way in ways.items()}, None)
