"The preview builder on a small site: whole links, valid feed and map, nothing from the net, mistakes named."

import base64
import gzip
import json
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree

import pytest
import yaml

from blog.site.preview import build_site

ROOT = Path(__file__).parent.parent
MOVED = '<meta name="robots" content="noindex">'  # in pages that lead on from an old address
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1 x 1
CHART = (
    '<div class="offline-chart"><svg role="img" aria-label="It rises" viewBox="0 0 9 9"><path d="M0,9L9,0" '
    'stroke="currentColor"></path></svg><script type="application/json" class="offline-chart-spec">'
    '{"title":"It rises","data":{"values":[{"a":1,"b":1},{"a":2,"b":2.5}]},"mark":"line","encoding":'
    '{"x":{"field":"a","type":"quantitative"},"y":{"field":"b","type":"quantitative"}}}</script></div>'
)
HOME = """---
title: The Distillation Blog
toc: false
---
Welcome.

::: {.from-posts show="findings" of="second"}
:::

## Studies

::: {.from-posts show="studies"}
:::
"""
ABOUT = "---\ntitle: About\ntoc: false\n---\nOf [the package](package.qmd).\n"
GLOSSARY = """---
title: Glossary
toc: true
---
## KL divergence {also="KL"}

As in [the first](nbs/first.ipynb).

## Per seed {also="seed, seeds"}

One training.
"""
SERIES = """---
title: A study in five minutes
series: A study
toc: false
---
It says, for each seed: [more/second]{.finding}

::: {.from-posts show="series"}
:::
"""
FINDING = "The student is **2.5 [1, 4] points** better\nthan `kl`. One more sentence."
FOUND = "The student is 2.5 [1, 4] points better than kl. One more sentence."
FIRST = """## Losses & café

The KL divergence is $T^2 \\sum_i p_i$ after [@hinton2015distilling],
as in [the other post](more/second.ipynb#results).[^1]

[^1]: A note.

::: {.callout-note title="Mind `this`"}
Inside the callout.
:::

![A red square](images/pixel.png)

| a | b |
|---|---|
| 1 | 2 |

### Search

Headings may be called what parts of the page are: this one, and the next.

### Theme
"""


def cell(kind, source, *outputs):
    own = {"outputs": list(outputs), "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True), **own}


def shown(**data):
    data = {kind.replace("_", "/"): text for kind, text in data.items()}
    return {"output_type": "display_data", "metadata": {}, "data": data}


def write_notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), encoding="utf-8")


def front(title="First", day="2026-11-19", more=""):
    return cell("raw", f'---\ntitle: "{title}"\ndescription: "About {title} & more"\ndate: {day}\n{more}---')


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "A checkout with two posts, three folders deep, and its site."
    root = tmp_path_factory.mktemp("built")
    (root / "nbs" / "images").mkdir(parents=True)
    for name in ("_quarto.yml", "library.qmd", "404.qmd", "nbs/references.bib"):
        shutil.copy(ROOT / name, root / name)
    (root / "series").mkdir()
    for name, text in {"index": HOME, "about": ABOUT, "glossary": GLOSSARY, "series/study": SERIES}.items():
        (root / f"{name}.qmd").write_text(text)
    shutil.copytree(ROOT / "nbs" / "site" / "assets", root / "nbs" / "site" / "assets")
    (root / "nbs/images/pixel.png").write_bytes(base64.b64decode(PIXEL))
    (root / "blog").mkdir()
    (root / "blog/losses.py").write_text('__all__ = ["kl"]\n\n\ndef kl():\n    "Divergence < 1."\n')
    write_notebook(
        root / "nbs/first.ipynb",
        front(more='categories: [losses, "a & b"]\nimage: images/pixel.png\nimage-alt: A red square\n'),
        cell("markdown", FIRST),
        cell("code", "#| default_exp losses"),
        cell("code", "#| export\ndef kl():\n    return 'https://example.org'"),
        cell("code", "#| echo: false\nkl()", shown(text_html="<table border='1'><tr><td>3</td></tr></table>")),
        cell("code", "#| hide\nsecret = 1"),
        cell("code", "#| fig-alt: A pixel\ndraw()", shown(image_png=PIXEL, text_plain="<Figure>")),
    )
    write_notebook(
        root / "nbs/more/second.ipynb",
        front("Second", "2026-11-20", 'presets: {smoke: "5 s"}\nsubtitle: Is `kl` worth it?\n'),
        cell("code", "#| label: finding\n#| echo: false\nfinding()", shown(text_markdown=FINDING)),
        cell("markdown", "## Results\n\nBack [home](../../index.qmd) or to [the first](../first.ipynb)."),
        cell("code", "chart", shown(text_html=CHART, text_plain="Chart")),
        cell("code", "print()", {"output_type": "stream", "name": "stdout", "text": ["1 %\r", "100 %\n", "<done>"]}),
        cell("code", "m", shown(text_markdown="**bold** result")),
    )
    with (root / "_quarto.yml").open(encoding="utf-8") as file:
        config = yaml.safe_load(file)
    order = ["nbs/more/second.ipynb", "nbs/first.ipynb"]
    config["website"]["sidebar"] = [{"title": "A study", "contents": order}]
    (root / "_quarto.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    write_notebook(root / "nbs/draft.ipynb", cell("markdown", "No front matter: not a post."))
    build_site(root)
    return root


@pytest.fixture
def root(built, tmp_path):
    "The same for one test to change. A site that was moved is still known as its own."
    return Path(shutil.copytree(built, tmp_path / "checkout"))


class Links(HTMLParser):
    "Everything an HTML page refers to, and the ids in it."

    def __init__(self, path):
        super().__init__()
        self.targets, self.ids, self.resources, self.headings, self.images = [], [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        fields = dict(attributes)
        address = fields.get("href", fields.get("src"))
        self.ids += [fields["id"]] if "id" in fields else []
        self.headings += [int(tag[1])] if re.fullmatch(r"h[1-6]", tag) else []
        self.images += [fields.get("alt", "")] if tag == "img" else []
        if address is not None:
            self.targets.append(address)
            loads = tag in ("link", "script", "img") and fields.get("rel") != "canonical"
            self.resources += [address] if loads else []


def packed(path):
    return len(gzip.compress(path.read_bytes()))


def pages(site):
    "Pages by path, without those that lead from an old address to a new one."
    return {path: Links(path) for path in site.rglob("*.html") if MOVED not in path.read_text("utf-8")}


def refused(root, words):
    "The build fails with one sentence that holds `words`, and leaves the last site and nothing else."
    site = root / "_site"
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    with pytest.raises(ValueError) as error:
        build_site(root)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    assert [path.name for path in root.iterdir() if path.name.startswith("._site")] == []


def check_pages(site):
    "Links and fragments lead somewhere, images have words, headings are in order, nothing is loaded from the net."
    base, known = "https://distillation-blog.github.io/distillation-blog/", pages(site)
    for path, page in known.items():
        assert len(page.ids) == len(set(page.ids)), path
        for target in page.targets:
            address = urljoin(base + path.relative_to(site).as_posix(), target)
            if not address.startswith(base):
                continue
            parts = urlsplit(address.removeprefix(base))
            there = site / (unquote(parts.path) or "index.html")
            assert there.is_file(), (path, target)
            if parts.fragment:
                assert unquote(parts.fragment) in known[there].ids, (path, target)
        for resource in page.resources:
            assert not re.match(r"(https?:)?//", resource), (path, resource)
        assert all(alt.strip() for alt in page.images), path
        assert page.headings[0] == 1 and page.headings.count(1) == 1, path
        assert all(deeper - level <= 1 for level, deeper in zip(page.headings, page.headings[1:], strict=False)), path
    return {path.relative_to(site).as_posix() for path in known}


def test_every_link_leads_somewhere_and_nothing_comes_from_the_net(root):
    names = {"index.html", "about.html", "package.html", "404.html", "nbs/first.html", "nbs/more/second.html"}
    names |= {"library.html", "glossary.html", "series/study.html"}
    assert check_pages(root / "_site") == names


def test_a_post_shows_what_the_notebook_holds(root):
    first = (root / "_site/nbs/first.html").read_text(encoding="utf-8")
    for part in (
        "<math",
        "<msup><mi>T</mi><mn>2</mn></msup>",
        "Exported: blog.losses.kl</summary>",
        '<p class="exported"><a href="https://github.com/distillation-blog/distillation-blog/blob/main/blog/losses.py">'
        "<code>from blog.losses import kl</code></a></p>",
        '<p class="part"><a href="../series/study.html">A study</a>, part 2 of 2</p>',
        '<a class="previous" href="../nbs/more/second.html">',
        "<td>3</td>",
        'href="more/second.html#results"',
        'class="callout callout-note"',
        'alt="A pixel"',
        "Hinton, Geoffrey",
        '<h2 class="unnumbered" id="references">',
        '<link rel="canonical" href="https://distillation-blog.github.io/distillation-blog/nbs/first.html">',
        '"@type": "BlogPosting", "headline": "First"',
        "<summary>All of A study</summary>",
        "<title>First · The Distillation Blog</title>",
        'content="https://distillation-blog.github.io/distillation-blog/nbs/images/pixel.png"',
        "@online{first2026,",
    ):
        assert part in first, part
    for part in ("secret", "default_exp", "#| ", "kl()</", "[@hinton", "T^2 \\sum_i p_i$", "charts.js"):
        assert part not in first, part
    second = (root / "_site/nbs/more/second.html").read_text(encoding="utf-8")
    for part in (
        '<td class="text-end">2.5</td></tr></tbody></table>',
        "The numbers as a table</summary>",
        "100 %\n&lt;done&gt;",
        "<strong>bold</strong> result",
    ):
        assert part in second, part
    assert "blog run more/second --preset smoke" in second and "1 %\r" not in second
    assert "5 s on 2 CPU cores; on a GPU: not measured" in second
    assert 'class="next" href="../../nbs/first.html"' in second
    assert 'og:image" content="https://distillation-blog.github.io/distillation-blog/card.png"' in second
    assert (root / "_site/card.png").read_bytes().startswith(b"\x89PNG")
    assert (root / "_site/nbs/first.ipynb").read_bytes() == (root / "nbs/first.ipynb").read_bytes()
    assert (root / "_site/charts.js").stat().st_size > 100_000
    package = (root / "_site/package.html").read_text(encoding="utf-8")
    assert "<code><b>kl</b>()</code></dt><dd>Divergence &lt; 1.</dd>" in package
    assert 'href="nbs/first.html">First</a> · <a href="https://github.com/' in package and "pip install -e " in package
    home = (root / "_site/index.html").read_text(encoding="utf-8")
    assert home.index("nbs/more/second.html") < home.index("nbs/first.html")
    assert "?category=" not in home and 'src="nbs/images/pixel.png" alt="A red square"' in home


def test_what_a_study_found_is_said_wherever_it_is_listed_and_is_never_a_copy(root):
    def told(page):
        text = (root / "_site" / page).read_text(encoding="utf-8")
        return re.sub(r"</?(?:code|a|p)\b[^>]*>", "", text.replace("&quot;", '"'))

    post, home = told("nbs/more/second.html"), told("index.html")
    assert f'<meta name="description" content="{FOUND}">' in post and f'"description": "{FOUND}"' in post
    assert "Is kl worth it?" in post and "About Second" not in post
    assert home.count("The student is 2.5 [1, 4] points better than kl.") == 2 and home.count("One more sentence") == 1
    for page in ("library.html", "series/study.html"):
        assert FOUND in told(page), page
    other = root / "nbs/more/second.ipynb"
    other.write_text(other.read_text(encoding="utf-8").replace("**2.5 [1, 4] points**", "**7 [6, 8] points**"))
    build_site(root)
    for page in ("index.html", "series/study.html", "library.html", "index.xml", "search.js", "nbs/more/second.html"):
        text = (root / "_site" / page).read_text(encoding="utf-8")
        assert "7 [6, 8] points" in text and "2.5 [1, 4]" not in text, page


def test_a_post_links_to_a_term_where_it_first_uses_it(root):
    first = (root / "_site/nbs/first.html").read_text(encoding="utf-8")
    assert first.count('class="term"') == 1
    assert '<p>The <a href="../glossary.html#kl-divergence" class="term">KL divergence</a> is <math' in first
    assert 'class="term"' not in (root / "_site/nbs/more/second.html").read_text(encoding="utf-8"), "that is code"
    series = (root / "_site/series/study.html").read_text(encoding="utf-8")
    assert '<a href="../glossary.html#per-seed" class="term">seed</a>' in series
    glossary = root / "glossary.qmd"
    glossary.write_text(GLOSSARY + '\n## Kullback {also="kl"}\n\nTwice.\n')
    refused(root, "glossary.qmd: 'kl' is a form of two terms; keep one.")


def test_mistakes_in_pages_of_series(root):
    study = root / "series/study.qmd"
    study.write_text(SERIES.replace("more/second", "third"))
    refused(root, "series/study.qmd: 'third' names no post.")
    study.write_text(SERIES.replace("series: A study", "series: Another"))
    refused(root, "series/study.qmd: series: Another is the title of no sidebar in _quarto.yml.")
    study.write_text(SERIES)
    (root / "series/again.qmd").write_text(SERIES)
    refused(root, "series/study.qmd and series/again.qmd are both the page of the series A study; keep one.")


def test_a_page_that_moved_is_found_at_its_old_addresses(root):
    second = root / "nbs/more/second.ipynb"
    text = second.read_text(encoding="utf-8")
    second.write_text(text.replace("date: 2026-11-20", "date: 2026-11-20\\naliases: [../second.html, /old/]"))
    assert "aliases" in second.read_text(encoding="utf-8")
    build_site(root)
    site = root / "_site"
    for old, link in (("nbs/second.html", "more/second.html"), ("old/index.html", "../nbs/more/second.html")):
        page = (site / old).read_text(encoding="utf-8")
        assert f'location.replace("{link}" + location.hash)' in page and f'content="0; url={link}"' in page
        assert (site / old).parent.joinpath(link).resolve() == site.resolve() / "nbs/more/second.html"
    assert "nbs/second.html" not in (site / "sitemap.xml").read_text() + (site / "search.js").read_text()
    second.write_text(text.replace("date: 2026-11-20", "date: 2026-11-20\\naliases: [../first.html]"))
    refused(root, "nbs/more/second.ipynb, cell 1: the alias ../first.html is the address of nbs/first.ipynb")


def search_index(site):
    return json.loads((site / "search.js").read_text(encoding="utf-8").removeprefix("window.searchIndex = ")[:-2])


def test_feed_map_and_search(root):
    base, site = "https://distillation-blog.github.io/distillation-blog", root / "_site"
    channel = ElementTree.parse(site / "index.xml").getroot().find("channel")
    assert [item.find("title").text for item in channel.iter("item")] == ["Second", "First"]
    assert {item.find("link").text for item in channel.iter("item")} == {
        f"{base}/nbs/{name}.html" for name in ("first", "more/second")
    }
    text = channel.findall("item")[1].find("{http://purl.org/rss/1.0/modules/content/}encoded").text
    assert f'<img src="{base}/nbs/images/pixel.png" alt="A red square">' in text and "<script" not in text
    assert all(re.match(r"https?:|data:", address) for address in re.findall(r'(?:href|src)="([^"]*)"', text))
    places = ElementTree.parse(site / "sitemap.xml").getroot().findall("{*}url/{*}loc")
    for place in places:
        assert (site / (place.text.removeprefix(f"{base}/") or "index.html")).is_file()
    assert len(places) == 8
    assert channel.findall("item")[0].find("description").text == FOUND
    index = {page["href"]: page for page in search_index(site)}
    assert index["nbs/more/second.html"]["text"] == f"Is kl worth it? {FOUND}"  # the question, then the finding
    assert [part[:2] for part in index["glossary.html"]["sections"]][-1] == ["per-seed", "Per seed"]
    assert (index["nbs/first.html"]["title"], index["nbs/first.html"]["text"]) == ("First", "About First & more")
    (found,) = (section for section in index["nbs/first.html"]["sections"] if "Inside the callout" in section[2])
    assert found[:2] == ["losses-café", "Losses & café"]
    assert "secret" not in json.dumps(index) and "404.html" not in index


def test_numbers_badges_and_code_are_not_what_search_finds(root):
    words = json.dumps([page["sections"] for page in search_index(root / "_site")])
    assert "Inside the callout" in words
    for part in ("The numbers as a table", "from blog.losses import", "example.org", "Divergence"):
        assert part not in words


def test_a_page_is_light(root):
    "All that a post with twenty charts and tables brings, but for pictures and the script of its charts."
    frame = (
        "<table><tbody>" + "".join(f"<tr><td>{n}</td><td>{n / 7:.4f}</td></tr>" for n in range(40)) + "</tbody></table>"
    )
    shown_cells = [cell("code", f"x = {n}\nchart", shown(text_html=CHART), shown(text_html=frame)) for n in range(20)]
    write_notebook(root / "nbs/long.ipynb", front("Long"), cell("markdown", "A sentence. " * 4000), *shown_cells)
    build_site(root)
    site = root / "_site"
    assert sum(packed(site / name) for name in ("nbs/long.html", "style.css", "site.js")) < 300_000
    assert not re.search(r"<script[^>]*src=(?!\"[./]*site\.js\" defer)", (site / "nbs/long.html").read_text())


def test_only_what_changed_is_rendered_again(root):
    site = root / "_site"
    shutil.rmtree(site)
    assert build_site(root) == [] and (site / "nbs/first.html").is_file(), "known, whatever became of the site"
    shutil.rmtree(root / ".quarto/pages")
    (root / ".quarto/pages/.a.html.abcdefgh.partial").mkdir(parents=True)  # a page that another build is writing
    assert len(build_site(root)) == 9
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    started = time.perf_counter()
    assert build_site(root) == [] and time.perf_counter() - started < 5
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    other = root / "nbs/more/second.ipynb"
    other.write_text(other.read_text(encoding="utf-8").replace("Back [home]", "Return [home]"), encoding="utf-8")
    assert build_site(root) == [site / "nbs/more/second.html"]
    assert "Return <a" in (site / "nbs/more/second.html").read_text(encoding="utf-8")
    with (root / "nbs/site/assets/page.html").open("a") as template:
        template.write("<!-- new -->\n")
    assert len(build_site(root)) == 9
    other.unlink()
    (root / "series/study.qmd").unlink()
    (root / "index.qmd").write_text(HOME.replace("second", "first"))
    config = root / "_quarto.yml"
    config.write_text(config.read_text(encoding="utf-8").replace("- nbs/more/second.ipynb", ""), encoding="utf-8")
    first = root / "nbs/first.ipynb"
    first.write_text(first.read_text(encoding="utf-8").replace("(more/second.ipynb#results)", "(first.ipynb)"))
    build_site(root)
    assert not (site / "nbs/more").exists() and not (site / "charts.js").exists()


BAD = {
    "no title": ([cell("raw", "---\ndate: 2026-11-20\n---")], "nbs/bad.ipynb, cell 1: the front matter has no title"),
    "no date": ([cell("raw", "---\ntitle: A\n---")], "nbs/bad.ipynb, cell 1: the front matter has no date"),
    "wrong date": ([front(day="soon")], "nbs/bad.ipynb, cell 1: date must be a date like"),
    "not YAML": ([cell("raw", "---\ntitle: [A\n---")], "nbs/bad.ipynb, cell 1: the front matter is not YAML"),
    "missing image": ([front(), cell("markdown", "![A](no.png)")], "nbs/bad.ipynb, cell 2: the image no.png does not"),
    "missing title image": ([front(more="image: no.png\nimage-alt: A\n")], "nbs/bad.ipynb, cell 1: the image no.png"),
    "image without alt": (
        [front(), cell("markdown", "![](images/pixel.png)")],
        "cell 2: the image images/pixel.png has no",
    ),
    "picture without alt": (
        [front(), cell("code", "x", shown(image_png=PIXEL))],
        "nbs/bad.ipynb, cell 2: the picture has no",
    ),
    "chart without alt": (
        [front(), cell("code", "x", shown(text_html=CHART.replace("It rises", "")))],
        "nbs/bad.ipynb, cell 2: the chart has no alt text",
    ),
    "chart from the net": (
        [front(), cell("code", "x", shown(text_html='<div id="altair-viz-1"></div>'))],
        "nbs/bad.ipynb, cell 2: this chart needs the net",
    ),
    "dead link": ([front(), cell("markdown", "[x](none.ipynb)")], "nbs/bad.ipynb, cell 2: the link to nbs/none.ipynb"),
    "unknown citation": ([front(), cell("markdown", "As in [@nobody1999none].")], "nbs/bad.ipynb, cell 2: pandoc says"),
    "series of nothing": ([front(), cell("markdown", "Text")], "_quarto.yml: a sidebar names nbs/gone.ipynb"),
    "no cell": ([front(), {"cell_type": "markdown"}], "nbs/bad.ipynb is not a notebook: cell 2 has no source"),
    "odd output": ([front(), cell("code", "x", 3)], "nbs/bad.ipynb is not a notebook: cell 2 has an output that is"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named_and_the_last_site_stays(root, name):
    cells, words = BAD[name]
    write_notebook(root / "nbs/bad.ipynb", *cells)
    if "gone" in words:
        config = root / "_quarto.yml"
        config.write_text(config.read_text(encoding="utf-8").replace("nbs/first.ipynb", "nbs/gone.ipynb"))
    refused(root, words)


def test_files_that_are_wrong_as_a_whole(root):
    bad = root / "nbs/bad.ipynb"
    for junk in ("", "{", "[]", '{"cells": 3}', '{"cells": null}'):
        bad.write_text(junk)
        refused(root, "nbs/bad.ipynb is not a notebook")
    bad.write_bytes(b"\xff\xfe")
    refused(root, "nbs/bad.ipynb is not a notebook")
    bad.unlink()
    write_notebook(root / "nbs/First.ipynb", front("Other"))
    refused(root, "have the same address")
    (root / "nbs/First.ipynb").unlink()
    (root / "about.qmd").unlink()
    refused(root, "about.qmd is missing")


def test_a_folder_that_is_no_site_is_not_replaced(root, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("Dear")
    for folder in (tmp_path / "mine", tmp_path / "mine/letter.txt", root, root / "nbs", tmp_path):
        with pytest.raises(ValueError, match="give a"):
            build_site(root, folder)
    assert (tmp_path / "mine/letter.txt").read_text() == "Dear"
    build_site(root, tmp_path / "new/site")
    assert (tmp_path / "new/site/index.html").is_file() and not list((tmp_path / "new/site").glob(".*"))
