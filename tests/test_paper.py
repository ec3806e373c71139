"The manuscript of a post compiles, with and without siunitx, and carries its fonts."

import shutil
import subprocess
from pathlib import Path

import pytest

from blog.report import paper
from blog.report.paper import chart_pdf, write_paper

ROOT = Path(__file__).parents[1]


def has_style(name):
    found = (
        subprocess.run(["kpsewhich", f"{name}.sty"], capture_output=True, text=True)
        if shutil.which("kpsewhich")
        else None
    )
    return bool(found and found.stdout.strip())


needs_latex = pytest.mark.skipif(
    not (shutil.which("pdflatex") and has_style("booktabs") and has_style("lmodern")),
    reason="LaTeX is not installed: apt-get install texlive-latex-recommended lmodern",
)


def compiled(document):
    "The PDF of a LaTeX document; its log where there is none."
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
    done = subprocess.run(command, cwd=document.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    return document.with_suffix(".pdf")


def unembedded(pdf):
    "Fonts that a PDF names and does not carry."
    if not shutil.which("pdffonts"):
        pytest.skip("pdffonts is not installed: apt-get install poppler-utils")
    listed = subprocess.run(["pdffonts", pdf], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    return [line for line in listed if line.split()[-5] != "yes"]


@needs_latex
@pytest.mark.parametrize("post", ["report/charts", "evaluation/classification"])
def test_paper_compiles(tmp_path, post):
    document, *parts = write_paper(ROOT / "nbs" / f"{post}.ipynb", tmp_path)
    kinds = {path.suffix for path in parts}
    assert {".pdf", ".svg"} <= kinds and all(path.stat().st_size for path in parts)
    pdf = compiled(document)
    assert unembedded(pdf) == []


@needs_latex
def test_paper_compiles_without_siunitx(tmp_path):
    document, *_ = write_paper(ROOT / "nbs" / "report" / "tables.ipynb", tmp_path)
    text = document.read_text(encoding="utf-8")
    assert "siunitx.sty" in text
    document.write_text(text.replace("siunitx.sty", "not-installed.sty"), encoding="utf-8")
    assert compiled(document).stat().st_size > 10_000


@needs_latex
def test_every_letter_compiles(tmp_path):
    letters = sorted(paper._KNOWN | set(paper._SPECIAL))
    lines = "\n\n".join(map(paper._escape, letters))
    packages = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{lmodern,amsmath}"
    document = tmp_path / "letters.tex"
    document.write_text(rf"{packages}\begin{{document}}{lines}\end{{document}}", encoding="utf-8")
    compiled(document)
    assert "Missing character" not in document.with_suffix(".log").read_text(encoding="latin-1")


def test_fonts_of_a_chart(tmp_path):
    spec = {
        "description": "One bar.",
        "title": "One",
        "data": {"values": [{"x": 1, "y": "niñez"}]},
        "mark": "bar",
        "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "nominal"}},
    }
    path = tmp_path / "chart.pdf"
    path.write_bytes(chart_pdf(spec))
    assert unembedded(path) == []
