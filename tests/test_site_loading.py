"What a notebook can't do to its page: load from elsewhere, run a script, add HTML, reach outside of the site."

import base64
import io
import json
import re
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from blog.site.preview import build_site, read_pages
from blog.site.render import SiteServer

ROOT = Path(__file__).parent.parent
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1 x 1
U = "https://elsewhere.example/x.png"
# HTML that loads U, or leads there, without a click
LOADS = {
    "img": f'<img src="{U}" alt="a">',
    "capitals": f'<IMG SRC="{U}" ALT="a">',
    "unquoted": f"<img src={U} alt=a>",
    "slashes": f'<img/src="{U}"/alt="a">',
    "newlines": f'<img\nsrc\n=\n"{U}" alt="a">',
    "entity": '<img src="&#104;ttps://elsewhere.example/x.png" alt="a">',
    "tab inside": '<img src="ht&#9;tps://elsewhere.example/x.png" alt="a">',
    "backslashes": '<img src="\\\\elsewhere.example\\x.png" alt="a">',
    "no slashes": '<img src="https:elsewhere.example/x.png" alt="a">',
    "> in alt": f'<img alt="a>b" src="{U}">',
    "srcset": f'<img src="data:," srcset="{U} 2x" alt="a">',
    "second of srcset": f'<img src="data:," srcset="data:, 1x, {U} 2x" alt="a">',
    "picture": f'<picture><source srcset="{U}"><img src="data:," alt="a"></picture>',
    "input": f'<input type="image" src="{U}" alt="a">',
    "video": f'<video src="{U}"></video>',
    "poster": f'<video poster="{U}"></video>',
    "audio": f'<audio src="{U}" autoplay></audio>',
    "track": f'<video src="data:,"><track src="{U}" default></video>',
    "iframe": f'<iframe src="{U}"></iframe>',
    "srcdoc": f"<iframe srcdoc='<img src={U}>'></iframe>",
    "frame of data": f'<iframe src="data:text/html,<img src={U}>"></iframe>',
    "object": f'<object data="{U}"></object>',
    "embed": f'<embed src="{U}">',
    "stylesheet": f'<link rel="stylesheet" href="{U}">',
    "prefetch": f'<link rel="prefetch" href="{U}">',
    "preload": f'<link rel="preload" as="image" href="{U}">',
    "icon": f'<link rel="icon" href="{U}">',
    "modulepreload": f'<link rel="modulepreload" href="{U}">',
    "script": f'<script src="{U}"></script>',
    "fetch": f'<script>fetch("{U}")</script>',
    "module": f'<script type="module">import "{U}"</script>',
    "speculation": f'<script type="speculationrules">{{"prefetch": [{{"urls": ["{U}"]}}]}}</script>',
    "handler": f'<img src="data:," alt="a" onerror="new Image().src = \'{U}\'">',
    "handler of SVG": f"<svg onload=\"fetch('{U}')\"></svg>",
    "import": f"<style>@import url({U});</style>",
    "import as text": f'<style>@import "{U}";</style>',
    "background": f'<style>body {{background: url("{U}")}}</style>',
    "escapes in CSS": f"<style>body {{background: u\\72l({U})}}</style>",
    "comment in CSS": f"<style>body {{content: '/*'; background: url({U}); quotes: '*/'}}</style>",
    "font": f"<style>@font-face {{font-family: x; src: url({U})}} body {{font-family: x}}</style>",
    "image-set": f'<style>body {{background: image-set("{U}" 1x)}}</style>',
    "style": f'<div style="background: url({U})">a</div>',
    "cursor": f'<div style="cursor: url({U}), auto">a</div>',
    "image in SVG": f'<svg><image href="{U}"/></svg>',
    "xlink": f'<svg><image xlink:href="{U}"/></svg>',
    "use": f'<svg><use href="{U}#a"/></svg>',
    "fill": f'<svg><rect fill="url({U}#a)" width="9" height="9"/></svg>',
    "filter": f'<svg><feImage href="{U}"/></svg>',
    "set": f'<svg><image href="#a"><set attributeName="href" to="{U}"/></image></svg>',
    "style in SVG": f"<svg><style><img src={U}></style></svg>",
    "comment": f"<!--><img src={U} alt=a>-->",
    "foreignObject": f'<svg><foreignObject><img src="{U}" alt="a"></foreignObject></svg>',
    "td": f'<table><tbody><tr><td background="{U}">1</td></tr></tbody></table>',
    "body": f'<body background="{U}">',
    "MathML": f'<math><mglyph src="{U}"></mglyph></math>',
    "noscript": f'<noscript><img src="{U}" alt="a"></noscript>',
    "template": f'<template shadowrootmode="open"><img src="{U}" alt="a"></template>',
    "first of two": f'<img src="{U}" src="data:," alt="a">',
    "data in use": '<svg><use href="data:image/svg+xml,<svg id=a><rect/></svg>#a"/></svg>',
    "two equals signs": f'<p x=="><img src={U} alt=a>">a</p>',
    "no-break space": f'<p x=\xa0"><img src={U} alt=a>">a</p>',
    "style that ends itself": f'<style/><p title="</style><img src={U} alt=a>"></p>',
    "blank in an end": f'<style></ style><p title="</style><img src={U} alt=a>"></p>',
    "letter like s": f'<style></\u017ftyle><p title="</style><img src={U} alt=a>"></p>',
    "style that is HTML in SVG": f'<svg><p><style><a title="</style><img src={U} alt=a>"></a></style></p></svg>',
    "entity in a style of SVG": f"<svg><style>@&#105;mport '{U}';</style></svg>",
    "title": f'<title><p title="</title><img src={U} alt=a>"></p></title>',
    "noscript that ends in words": f'<noscript><p title="</noscript><img src={U} alt=a>"></p></noscript>',
    "script of data": '<script type="application/json">"<!--<script>"</script>'
    f'<p title="</script><img src={U} alt=a>"></p>',
    **{tag: f'<{tag}><p title="</{tag}><img src={U} alt=a>"></p></{tag}>' for tag in ("xmp", "noembed", "textarea")},
}
# what no policy in a page covers, or needs a click: the builder alone holds it
LEADS = {
    "base": '<base href="https://elsewhere.example/">',
    "refresh": f'<meta http-equiv="refresh" content="0;url={U}">',
    "preconnect": '<link rel="preconnect" href="https://elsewhere.example">',
    "dns-prefetch": '<link rel="dns-prefetch" href="//elsewhere.example">',
    "ping": f'<a href="https://example.org" ping="{U}">a</a>',
    "form": f'<form action="{U}"><button>a</button></form>',
    "formaction": f'<button formaction="{U}">a</button>',
    "unclosed": f"<img alt=a src={U} ",
    "unclosed comment": "<!-- a",
    "unclosed style": "<style> p {}",
    "javascript": '<a href="javascript:alert(1)">a</a>',
    "javascript in disguise": '<a href=" Java&#10;Script:alert(1)">a</a>',
    "data": '<a href="data:text/html,a">a</a>',
    "javascript in SVG": '<svg><a xlink:href="javascript:alert(1)"><text>a</text></a></svg>',
    "animated": '<svg><a><animate attributeName="href" values="#a;javascript:alert(1)"/></a></svg>',
    "formaction that runs": '<button formaction="javascript:alert(1)">a</button>',
}
TEXTS = {
    "inline": f"![a]({U})",
    "reference": f"![a][p]\n\n[p]: {U}",
    "shortcut": f"![p]\n\n[p]: {U}",
    "brackets": f"![a [b] c]({U})",
    "angles": f"![a](<{U}>)",
    "two lines": f"![a\nb]({U} 'Title')",
    "no scheme": "![a](//elsewhere.example/x.png)",
    "raw": f"```{{=html}}\n<img src='{U}' alt='a'>\n```",
    "raw for slides": f"```{{=revealjs}}\n<img src='{U}' alt='a'>\n```",
    "raw inline": f"a `<img src='{U}' alt='a'>`{{=html}} b",
    "style": f"[a]{{style='background: url({U})'}}",
    "handler": "## a {onclick='alert(1)'}",
    "division": f"::: {{style='background: url({U})'}}\na\n:::",
    "javascript": "[a](javascript:alert(1))",
    "javascript, capitals": "[a](JAVASCRIPT:alert(1))",
    "javascript, entity": "[a](&#106;avascript:alert(1))",
    "javascript, reference": "[a][b]\n\n[b]: javascript:alert(1)",
    "javascript, angles": "<javascript:alert(1)>",
    "data": "[a](data:text/html,a)",
    "vbscript": "[a](vbscript:a)",
    "footnote": f"a[^1]\n\n[^1]: ![a]({U})",
    "in a table": f"| a |\n|---|\n| ![a]({U}) |",
    "in a link": f"[![a]({U})](https://example.org)",
}


def cell(kind, source, *outputs):
    own = {"outputs": list(outputs), "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **own}


def shown(**data):
    return {"output_type": "display_data", "metadata": {}, "data": {k.replace("_", "/"): v for k, v in data.items()}}


def front(more="", title="First"):
    return cell("raw", f"---\ntitle: {json.dumps(title)}\ndate: 2026-11-19\n{more}\n---")


def write(root, *cells, name="first"):
    notebook = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (root / f"nbs/{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


@pytest.fixture
def root(tmp_path):
    "A checkout without a post, inside a folder that holds other things."
    root = tmp_path / "checkout"
    (root / "nbs/images").mkdir(parents=True)
    (root / "blog").mkdir()
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    config["website"]["sidebar"] = []
    (root / "_quarto.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for name in ("index.qmd", "library.qmd", "glossary.qmd", "about.qmd", "404.qmd"):
        (root / name).write_text("---\ntitle: Home\n---\nHello.\n")
    shutil.copytree(ROOT / "nbs/site/assets", root / "nbs/site/assets")
    (root / "nbs/images/pixel.png").write_bytes(base64.b64decode(PIXEL))
    return root


def refusals(root, cells):
    "For each cell, what is said of a post that has it as its second."
    said = {}
    for name, made in cells.items():
        write(root, front(), made)
        with pytest.raises(ValueError) as error:
            read_pages(root)
            pytest.fail(f"{name} is taken")
        said[name] = str(error.value)
    return said


def test_html_that_loads_or_runs_is_refused_with_file_and_cell(root):
    for where in (lambda text: cell("code", "x", shown(text_html=text)), lambda text: cell("markdown", f"a {text}")):
        told = refusals(root, {name: where(text) for name, text in LOADS.items()})
        assert {name: words for name, words in told.items() if not words.startswith("nbs/first.ipynb, cell 2: ")} == {}


def test_html_that_leads_elsewhere_is_refused_with_file_and_cell(root):
    told = refusals(root, {name: cell("code", "x", shown(text_html=text)) for name, text in LEADS.items()})
    assert {name: words for name, words in told.items() if not words.startswith("nbs/first.ipynb, cell 2: ")} == {}


@pytest.mark.parametrize("kind", ["cell", "output"])
def test_text_that_loads_or_runs_is_refused_with_file_and_cell(root, kind):
    made = {"cell": lambda text: cell("markdown", text), "output": lambda t: cell("code", "x", shown(text_markdown=t))}
    told = refusals(root, {name: made[kind](text) for name, text in TEXTS.items()})
    assert {name: words for name, words in told.items() if not words.startswith("nbs/first.ipynb, cell 2: ")} == {}


def test_html_that_loads_only_together_is_refused(root):
    "In SVG a browser takes the text of a script for tags."
    script = f'<script type="application/json"><img src={U} alt=a></script>'
    write(root, front(), cell("markdown", "`<svg>`{=html}"), cell("markdown", f"```{{=html}}\n{script}\n```"))
    with pytest.raises(ValueError, match=r"nbs/first\.ipynb, cell 3: <script> is not closed, or its text holds a <"):
        read_pages(root)


def test_what_a_citation_leads_to_is_refused(root):
    (root / "nbs/references.bib").write_text("@misc{a, title = {A}, url = {javascript://a%0Aalert(1)}}")
    write(root, front(), cell("markdown", "As in [@a]."))
    with pytest.raises(ValueError, match=r"nbs/first\.ipynb: a page may not link to javascript://a%0Aalert\(1\)"):
        build_site(root)


def test_what_loads_nothing_is_taken(root):
    for text in (
        '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/svg11.dtd"><svg></svg>',
        "<svg><title>a &lt; b</title><style>a {color: red}</style><path d='M0,0'/></svg><BR CLEAR=all/><3",
        '<a href="https://example.org/a?b=c#d">a</a> <a href="mailto:a@example.org">b</a> <a href="#c">c</a>',
        f'<img src="images/pixel.png" alt="see {U}"> <img src="data:image/png;base64,{PIXEL}" alt="a">',
        "<style>#T {color: red; background: url(data:image/png;base64,AA)}</style><p id='T'>a</p>",
        f"<!-- <img src='{U}' alt='a'> --><pre>&lt;img src='{U}'&gt;</pre>",
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><use href="#a"/></svg>',
        f'<blockquote cite="{U}">1 < 2 and "https://example.org"</blockquote>',
        '<script type="application/json">{"a": "https://example.org"}</script>',
    ):
        write(root, front(), cell("code", "x", shown(text_html=text)))
        assert "nbs/first.ipynb" in {page.source for page in read_pages(root)}, text
    write(root, front(), cell("markdown", f"`<img src='{U}'>`\n\n```html\n<script src='{U}'></script>\n```\n\n<{U}>"))
    assert read_pages(root)[-1].links == ()


X = """"'><img src=x onerror=alert(1)><script>alert(1)</script>{onclick=alert(1)}`"""


class Tags(HTMLParser):
    "All attributes of a page, and its scripts."

    def __init__(self, text):
        super().__init__()
        self.attributes, self.scripts, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]
        self.inside = tag == "script"

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        self.scripts += [data] * self.inside


def test_strings_of_a_notebook_are_text(root):
    chart = (
        '<div class="offline-chart"><svg role="img" aria-label="It rises"></svg><script type="application/json" '
        'class="offline-chart-spec">{"title": "<img src=x onerror=alert(1)>", "data": {"values": [{"<b>": "<img src=x '
        'onerror=alert(1)>", "b": 1}]}, "mark": "line", "encoding": {"x": {"field": "<b>"}, "y": {"field": "b"}}}'
        "</script></div>"
    )
    q = json.dumps(X)
    fields = f"author: [{q}]\ncategories: [{q}]\npresets: {{{q}: {q}, embedded: {q}}}\nimage: images/pixel.png\n"
    fields += f"image-alt: {q}\ndescription: {q}\nsubtitle: {q}\naliases: [{json.dumps(X.replace('/', ''))}]"
    name = X.replace("/", "")
    (root / "blog/losses.py").write_text(f"__all__ = [{X!r}, 'f']\nB = {X!r}\ndef f():\n    {X!r}\n")
    write(
        root,
        front(fields, title=X),
        cell("code", "#| default_exp losses"),
        cell("code", f"#| export {X}\ndef f(): pass"),
        cell("code", f"#| code-fold: true\n#| code-summary: {q}\nprint({X!r})"),
        cell("code", f"#| fig-alt: {q}\nx", shown(image_png=PIXEL)),
        cell("code", "x", {"output_type": "stream", "name": "stdout", "text": X}, shown(text_plain=X)),
        cell("code", "x", {"output_type": "error", "ename": X, "evalue": X, "traceback": [X]}),
        cell("code", "x", shown(text_html=chart)),
        name=name,
    )
    write(root, front(title="Second"), cell("code", f"#| default_exp {X}"), name="second")
    lists = "".join(f'::: {{.from-posts show="{show}"}}\n:::\n\n' for show in ("studies", "library"))
    cards = '::: {.from-posts show="findings" of="second"}\n:::\n'
    (root / "index.qmd").write_text(f"---\ntitle: Home\n---\n{lists}{cards}")
    build_site(root)
    own = (root / "nbs/site/assets/page.html").read_text(encoding="utf-8")
    found = sorted((root / "_site").rglob("*.html"))
    assert len(found) == 9
    for path in found:
        tags = Tags(text := path.read_text(encoding="utf-8"))
        assert "<img src=x" not in text
        assert [part for part in tags.attributes if part[1].startswith("on") or part[2] == "x"] == [], path
        for script in tags.scripts:
            assert script in own or script.startswith(('{"title"', '{"@context"', "location.replace(")), (path, script)
        links = [value for _, attribute, value in tags.attributes if attribute in ("href", "src")]
        assert all(" " not in link and '"' not in link for link in links if not link.startswith("data:")), path
    for path in ("index.xml", "sitemap.xml"):
        ElementTree.parse(root / "_site" / path)
    index = (root / "_site/search.js").read_text("utf-8").partition(" = ")[2]
    assert X.replace("`", "") in {page["title"] for page in json.loads(index[:-2])}


def test_characters_that_no_page_or_feed_may_hold(root):
    fields = r'description: "a\0b\u0008"' + "\n" + r'categories: ["c\u001f"]'
    bad = "a\x00\x08\x0b\x1b\x7f\x9b\ufffeb"
    write(
        root, front(fields, title="T\x08"), cell("markdown", f"## {bad}\n\n{bad} a&#8;b"), cell("code", f"x = '{bad}'")
    )
    notebook = json.loads((root / "nbs/first.ipynb").read_text())
    notebook["cells"].append(cell("code", "y", shown(text_html=f"<b>{bad}</b>"), shown(text_markdown=bad)))
    terminal = "\x1b]8;;https://example.org\x07link\x1b]8;;\x07 \x1b[1;31mred\x1b[0m \x1b[?25l10%\b\b\b20%\x07\r\n"
    notebook["cells"].append(cell("code", "z", {"output_type": "stream", "name": "stdout", "text": [terminal]}))
    (root / "nbs/first.ipynb").write_text(json.dumps(notebook))
    build_site(root)
    for path in (root / "_site").rglob("*"):
        if path.suffix in (".html", ".xml", ".js"):
            strange = {
                c for c in path.read_text(encoding="utf-8") if (c < " " and c not in "\t\n\r") or c in "\x7f\x9b\ufffe"
            }
            assert strange == set() or path.name == "charts.js", path
    assert "<code>link red 20%</code>" in (root / "_site/nbs/first.html").read_text(encoding="utf-8")
    for path in ("index.xml", "sitemap.xml"):
        ElementTree.parse(root / "_site" / path)


SVG = "<svg xmlns='http://www.w3.org/2000/svg'><circle r='9'/></svg>"


@pytest.mark.parametrize(
    ("kind", "data", "part"),
    [
        ("image/svg+xml", SVG, '<img src="data:image/svg+xml;base64,'),
        ("image/jpeg", PIXEL, f'<img src="data:image/jpeg;base64,{PIXEL}" alt="A dot">'),
        ("image/gif", PIXEL, f'<img src="data:image/gif;base64,{PIXEL}" alt="A dot">'),
        ("image/webp", [PIXEL[:9] + "\n", PIXEL[9:]], f'<img src="data:image/webp;base64,{PIXEL}" alt="A dot">'),
        ("text/latex", "$\\displaystyle x^2$", "<msup><mi>x</mi><mn>2</mn></msup>"),
        ("text/latex", ["\\begin{align}\n", "x &= 1\n\n", "\\end{align}"], "<mi>x</mi>"),
        ("text/markdown", "**bold**", "<strong>bold</strong>"),
        ("text/html", "<b onx=1>bold</b>".replace(" onx=1", ""), "<b>bold</b>"),
    ],
)
def test_outputs_are_shown_in_their_richest_form(root, kind, data, part):
    write(
        root,
        front(),
        cell("code", "#| fig-alt: A dot\nx", shown(text_plain="<Figure size>", **{kind.replace("/", "_", 1): data})),
    )
    build_site(root)
    page = (root / "_site/nbs/first.html").read_text(encoding="utf-8")
    assert part in page and "Figure size" not in page


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        ("image/png", '"><img src=x onerror=alert(1)>', "the picture is not stored as base64"),
        ("image/svg+xml", "<svg onload=alert(1)></svg>", "onload='alert(1)' is a script"),
        ("image/svg+xml", f"<svg><image href='{U}'/></svg>", f"this would load {U}"),
        ("image/svg+xml", "<svg>", "the picture is no valid SVG"),
        ("image/bmp", PIXEL, "a page can't show an output of the type image/bmp"),
        ("application/pdf", PIXEL, "a page can't show an output of the type application/pdf"),
        ("application/javascript", "alert(1)", "a page can't show an output of the type application/javascript"),
        ("text/latex", "\\begin{tabular}{l}a\\end{tabular}", "a page can't show an output of the type text/latex"),
    ],
)
def test_outputs_that_a_page_cannot_show_are_refused(root, kind, data, told):
    output = shown(text_plain="<Figure>", **{kind.replace("/", "_", 1): data})
    said = refusals(root, {"": cell("code", "#| fig-alt: A dot\nx", output)})[""]
    assert said.startswith(f"nbs/first.ipynb, cell 2: {told}")


def test_pictures_are_copied_wherever_they_are_written(root):
    for name in ("plot (1).png", "p_(1).png", "ä.png", "100%.png", "a&b.png"):
        shutil.copy(root / "nbs/images/pixel.png", root / "nbs/images" / name)
    pasted = cell("markdown", "![image.png](attachment:image.png) ![b](attachment:b%20c.svg)")
    pasted["attachments"] = {"image.png": {"image/png": PIXEL}, "b c.svg": {"image/svg+xml": [SVG]}}
    texts = [
        "![Accuracy [95 % CI]](images/pixel.png)",
        "![A](<images/plot (1).png>)",
        "![A](images/p_(1).png)",
        "![A\nB][c]\n\n[c]: images/ä.png 'Title'",
        '<img alt="1 > 2" src = images/100%25.png>',
        "[![A](/nbs/images/a&b.png)](https://example.org)",
    ]
    write(root, front(), *(cell("markdown", text) for text in texts), pasted)
    build_site(root)
    assert {p.name for p in (root / "_site/nbs/images").iterdir()} == {p.name for p in (root / "nbs/images").iterdir()}
    page = (root / "_site/nbs/first.html").read_text(encoding="utf-8")
    assert (
        "attachment:" not in page and f"data:image/png;base64,{PIXEL}" in page and "data:image/svg+xml;base64," in page
    )


@pytest.mark.parametrize(
    "target",
    [
        "../../../secret.png",
        "..%2f..%2f../secret.png",
        "/../secret.png",
        "/%2e%2e/secret.png",
        "images/link.png",
        "linked/secret.png",
    ],
)
@pytest.mark.parametrize("how", ["![a]({})", '<img src="{}" alt="a">', "front"])
def test_nothing_is_read_or_written_outside(root, target, how):
    (root.parent / "secret.png").write_bytes(b"secret")
    (root / "nbs/images/link.png").symlink_to(root.parent / "secret.png")
    (root / "nbs/linked").symlink_to(root.parent)
    more = f"image: {target}\nimage-alt: a" if how == "front" else ""
    write(root, front(more), cell("markdown", how.format(target)))
    before = {path: path.stat().st_mtime_ns for path in root.parent.rglob("*")}
    with pytest.raises(ValueError, match=r"nbs/first\.ipynb, cell \d: .*leads out of the checkout"):
        build_site(root)
    assert {
        path: path.stat().st_mtime_ns for path in root.parent.rglob("*") if "_site" not in str(path)
    }.keys() == before.keys()


def test_a_reader_who_leaves_is_no_error_of_the_server(root, monkeypatch):
    write(root, front())
    build_site(root)
    monkeypatch.setattr(sys, "stderr", told := io.StringIO())
    with SiteServer(root / "_site", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for request in (
            "GET",
            "HEAD /site.js HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", server.server_port)) as reader:
                reader.sendall(request.encode())
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
            time.sleep(0.3)
        server.shutdown()
    assert told.getvalue() == ""


def test_an_image_cannot_take_the_place_of_a_page(root):
    (root / "nbs/second.html").write_bytes(b"")
    write(root, front(), cell("markdown", "<img src='second.html' alt='a'>"))
    write(root, front(title="Second"), name="second")
    with pytest.raises(ValueError, match=r"nbs/first\.ipynb: nbs/second\.html has the name of a part of the site"):
        build_site(root)


@pytest.mark.parametrize("alias", ["/style.css", "/404.html", "/search.js/a.html", "first.ipynb", "/charts.js/.."])
def test_a_former_address_cannot_take_the_place_of_a_part(root, alias):
    write(root, front(f"aliases: [{alias}]"))
    if alias in ("/charts.js/..", "/404.html"):  # the first is /index.html
        told = rf"the alias {re.escape(alias)} is the address of {'404' if alias == '/404.html' else 'index'}\.qmd"
    else:
        told = "has the name of a part of the site"
    with pytest.raises(ValueError, match=rf"nbs/first\.ipynb, cell 1: .*{told}"):
        build_site(root)


def test_words_that_look_like_links_are_left_alone_in_the_feed(root):
    html = '<p data-src="http://[a">b</p><a href="second.html?a=1&amp;b=2">c</a>'
    write(
        root,
        front(),
        cell("markdown", r"Write href=\"x.html\" or src=\"http://[a\"."),
        cell("code", "x", shown(text_html=html)),
    )
    write(root, front(title="Second"), name="second")
    build_site(root)
    (text,) = (
        item.findtext("{*}encoded")
        for item in ElementTree.parse(root / "_site/index.xml").iter("item")
        if item.findtext("title") == "First"
    )
    assert 'href="x.html"' in text and 'data-src="http://[a"' in text
    assert 'href="https://distillation-blog.github.io/distillation-blog/nbs/second.html?a=1&amp;b=2"' in text


def test_a_site_is_made_where_the_usual_temporary_folder_is_not(root, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", None)
    write(root, front())
    assert len(build_site(root)) == 6


def test_only_a_site_of_ours_is_replaced(root):
    write(root, front())
    (root / "_site").mkdir()
    (root / "_site/index.html").write_text("somebody's")
    with pytest.raises(ValueError, match="holds files that are no site"):
        build_site(root)
    shutil.rmtree(root / "_site")
    build_site(root)
    shutil.move(root / "_site", root.parent / "published")
    (root / "_site").symlink_to(root.parent / "published")
    with pytest.raises(ValueError, match="is a link"):
        build_site(root)
    assert (root.parent / "published/nbs/first.html").is_file()


def test_a_draft_is_nowhere(root):
    write(
        root,
        front("draft: true\naliases: [old.html]\ncategories: [secret]", title="Hidden"),
        cell("markdown", "Soon."),
        name="draft",
    )
    config = yaml.safe_load((root / "_quarto.yml").read_text(encoding="utf-8"))
    config["website"]["sidebar"] = [{"title": "Series", "contents": ["nbs/draft.ipynb", "nbs/first.ipynb"]}]
    (root / "_quarto.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    write(root, front(), cell("markdown", "Read [more *here*](draft.ipynb#a)."))
    build_site(root)
    for path in (root / "_site").rglob("*"):
        if path.is_file() and path.suffix != ".ipynb":
            text = path.read_bytes()
            assert b"Hidden" not in text and b"draft.html" not in text and b"secret" not in text, path
    assert not list((root / "_site").rglob("draft*")) and not list((root / "_site").rglob("old*"))
    page = (root / "_site/nbs/first.html").read_text(encoding="utf-8")
    assert "<span>more <em>here</em></span>" in page and "Series, part 1 of 1" in page
    write(root, front("draft: true", title="Hidden"), cell("markdown", "![a](none.png)"), name="draft")
    with pytest.raises(ValueError, match=r"nbs/draft\.ipynb, cell 2: the image none\.png does not exist"):
        build_site(root)
