"""The whole site as readers get it: opened in headless Chromium without a network, and its files checked for links.

Chromium comes from the system (`apt install chromium`); without it the tests that need one are skipped, as are those of
Quarto's pages where it is not installed. Pictures of the pages go to artifacts/screenshots, to be looked at.
"""

import gzip
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from email.utils import parsedate_to_datetime
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright
from test_preview import check_pages, packed
from test_site_loading import LOADS, U

from blog.site.preview import build_site
from blog.site.render import SiteServer

ROOT = Path(__file__).parent.parent
MOVED = '<meta name="robots" content="noindex">'  # in pages that lead on from an old address
PROGRAMS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
OUTSIDE = re.compile(r"^(?!http://127\.0\.0\.1[:/]|file:|data:|blob:)")
WEBSITE = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))["website"]
BASE = WEBSITE["site-url"].rstrip("/") + "/"
THEMES = ("light", "dark")
SLIDER = '"input":"range"'
pytestmark = pytest.mark.timeout(900)  # Quarto renders the whole site for the first test, which takes minutes when busy
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module", params=["preview", "quarto"])
def site(request, tmp_path_factory):
    "The site of this checkout, in a folder named as the published one is, by each of the two that can make it."
    out = tmp_path_factory.mktemp("published") / "distillation-blog"
    if request.param == "preview":
        build_site(ROOT, out)
    elif shutil.which("quarto"):
        by_quarto(tmp_path_factory.mktemp("checkout"), out)
    else:
        pytest.skip("quarto is not on PATH")
    return out


def by_quarto(checkout, out):
    "A copy of the checkout, rendered by Quarto without a warning."
    passed_over = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("nbs", "blog", "results", "series"):
        shutil.copytree(ROOT / name, checkout / name, ignore=passed_over)
    for path in (*ROOT.glob("*.qmd"), ROOT / "_quarto.yml", ROOT / "settings.ini"):
        shutil.copy(path, checkout)
    command = [sys.executable, "-m", "blog.cli", "render"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and not re.findall(r"^.*(?:WARN|ERROR).*$", said, re.MULTILINE), said
    shutil.move(checkout / "_site", out)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def addresses(site):
    "Where the site lies, by scheme: on a server at loopback, below its root as the published one is, and on disk."
    handler = partial(QuietHandler, directory=site.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"http": f"http://127.0.0.1:{server.server_port}/{site.name}/", "file": f"{site.as_uri()}/"}
        server.shutdown()


@pytest.fixture(scope="module")  # closed with the module: while it lives, no other test could run an event loop
def browser():
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"needs a browser: none of {', '.join(PROGRAMS)} is on PATH (apt install chromium)")
    with sync_playwright() as playwright:
        flags = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        chromium = playwright.chromium.launch(executable_path=program, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def new_page(browser):
    "Opens pages in profiles of their own. What they complain of, miss, or ask of the net fails the test."
    contexts, complaints = [], []

    def failed(request):
        if "ERR_ABORTED" not in request.failure:  # the page was left before the answer
            complaints.append(f"{request.frame.url}: {request.url} {request.failure}")

    def make(**options):
        context = browser.new_context(service_workers="block", **options)
        contexts.append(context)
        context.set_default_timeout(30_000)
        context.route(OUTSIDE, lambda route: route.abort())
        context.on("console", lambda m: m.type in ("error", "warning") and complaints.append(f"{m.page.url}: {m.text}"))
        context.on("weberror", lambda e: complaints.append(f"{e.page.url}: {e.error}"))
        context.on("requestfailed", failed)
        context.on("response", lambda r: r.status >= 400 and complaints.append(f"{r.frame.url}: {r.url} {r.status}"))
        return context.new_page()

    yield make
    for context in contexts:
        context.close()
    assert not complaints, "\n".join(complaints)


def names(site):
    "Addresses of all pages below the site's, the home page first; without those that lead on from an old address."
    paths = (path for path in site.rglob("*.html") if MOVED not in path.read_text(encoding="utf-8"))
    found = sorted(path.relative_to(site).as_posix() for path in paths)
    return sorted(found, key=lambda name: name != "index.html")


def charts(site, name):
    "Vega-Lite specifications of the charts on a page."
    text = (site / name).read_text(encoding="utf-8")
    return re.findall(r"<script\b[^>]*offline-chart-spec[^>]*>(.*?)</script>", text, re.DOTALL)


def with_charts(site, words=""):
    "Pages that have a chart with `words` in its specification."
    found = [name for name in names(site) if any(words in spec for spec in charts(site, name))]
    assert found, f"no page has a chart with {words}"
    return found


def rich_post(site):
    "The smallest post with charts that have tooltips and sliders, with tables and with mathematics."
    texts = {name: (site / name).read_text(encoding="utf-8") for name in with_charts(site, SLIDER)}
    rich = [n for n, text in texts.items() if "<table" in text and "<math" in text and '"tooltip"' in text]
    return min(rich, key=lambda name: len(texts[name]))


def enliven(page):
    "Wait until the charts live, which they do when one comes near."
    page.evaluate("scrollTo(0, document.querySelector('.offline-chart')?.getBoundingClientRect().top ?? 0)")
    expect(page.locator(".offline-chart:not(.live)")).to_have_count(
        0
    )  # wait_for_function needs eval, which is not allowed
    page.evaluate("scrollTo(0, 0)")


def visit(page, address):
    page.goto(address)
    enliven(page)


def unfold(page):
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true })")


def test_this_blog_is_whole_and_light(site):
    found = check_pages(site)
    assert {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in (ROOT / "nbs").rglob("*.ipynb")} <= found
    shared = sum(packed(site / name) for name in ("style.css", "site.js"))
    for name in found:
        assert packed(site / name) + shared < 300_000, name


# Pages open


WIDE = """() => [document.documentElement.scrollWidth, [...document.querySelectorAll("body *")]
    .filter((part) => part.getBoundingClientRect().right > innerWidth + 1).map((part) => part.outerHTML.slice(0, 90))
]"""


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_an_old_address_leads_to_the_section_asked_for(site, addresses, new_page, scheme):
    old = next(p for p in (site / "nbs").rglob("*.html") if MOVED in p.read_text(encoding="utf-8"))
    page = new_page()
    page.goto(f"{addresses[scheme]}{old.relative_to(site).as_posix()}#limits-and-next-questions")
    page.wait_for_selector("#limits-and-next-questions")
    assert page.url.endswith("#limits-and-next-questions") and old.name not in page.url.rpartition("/")[0]


@pytest.mark.parametrize(("scheme", "width"), [("http", 1280), ("file", 390)])
def test_every_page_opens_without_a_network_and_fits(site, addresses, new_page, scheme, width):
    page = new_page(viewport={"width": width, "height": 844})
    for name in names(site):
        visit(page, addresses[scheme] + name)
        assert page.locator("h1:visible").count() == 1, name
        assert page.locator(".offline-chart.live svg.marks:visible").count() == len(charts(site, name)), name
        for action in (lambda _: None, unfold):
            action(page)
            wide, outside = page.evaluate(WIDE)
            assert wide <= width, f"{name} is {wide} wide: {outside[:9]}"


UNSEEN = """() => [...document.querySelectorAll("main :is(h1, h2, h3, p, li, td, th, pre, summary, svg, img, math)")]
    .filter((part) => !part.checkVisibility() && !part.closest("details:not([open])")).map((part) => part.outerHTML)"""
DRAWN = """(figures) => figures.map((figure) => {
  const svg = figure.querySelector("svg"), named = figure.querySelector("[aria-label]");
  const box = svg.getBoundingClientRect();
  return { width: box.width, height: box.height, words: svg.querySelectorAll("text").length,
    role: named?.getAttribute("role"), label: named?.getAttribute("aria-label"), holds: named?.contains(svg) }
})"""


def test_text_and_charts_are_there_without_scripts(site, addresses, new_page):
    page = new_page(java_script_enabled=False)
    for name in names(site):
        page.goto(addresses["file"] + name)
        assert page.locator("h1:visible").count() == 1, name
        assert page.evaluate(UNSEEN) == [], name
        drawn = page.eval_on_selector_all(".offline-chart", DRAWN)
        assert len(drawn) == len(charts(site, name)), name
        for chart in drawn:
            assert chart["width"] > 300 and chart["height"] > 100 and chart["words"] > 4, (name, chart)


# The policy


@pytest.fixture(scope="module")
def elsewhere():
    "A server that no page may ask for anything: its address, and what it was asked for."
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def attacked(browser, folder, made, address):
    "Open pages that have what the builder refuses; whether a script ran, by name."
    context, ran = browser.new_context(), {}
    page = context.new_page()
    for name, text in made.items():
        (folder / "attack.html").write_text(text, encoding="utf-8")
        page.goto(f"{address}attack.html")
        ran[name] = page.evaluate("window.ran === true")
    page.wait_for_timeout(300)
    context.close()
    return ran


def test_every_page_has_a_policy_before_anything_else(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
        assert policy and not re.search(r"<(?:script|style|link|body)", text[: policy.start()]), path
        allowed = dict(part.split(" ", 1) for part in policy[1].split("; "))
        assert allowed["default-src"] == allowed["connect-src"] == allowed["base-uri"] == "'none'", path
        assert re.fullmatch(r"'self'( 'sha256-[\w+/]{43}=')*", allowed["script-src"]), path
        assert not re.search(r"https?:|\*", policy[1]), path


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_the_policy_holds_where_the_builder_would_not(site, addresses, browser, elsewhere, scheme):
    "All that the builder refuses to load, put into a page behind its back; the same pages without a policy do load."
    address, asked = elsewhere
    home = (site / "index.html").read_text(encoding="utf-8")
    script = "<script>window.ran = true</script><svg onload='window.ran = true'></svg>"
    texts = {
        name: home.replace("</main>", (text + script).replace(U, f"{address}/{number}") + "</main>")
        for number, (name, text) in enumerate(LOADS.items())
    }
    try:
        ran = attacked(browser, site, texts, addresses[scheme])
        assert not any(ran.values()) and asked == []
        some = ("img", "stylesheet", "fetch", "import")
        free = {name: re.sub(r"<meta http-equiv[^>]*>", "", texts[name]) for name in some}
        ran = attacked(browser, site, free, addresses[scheme])
        assert all(ran.values()) and len(asked) >= len(some), asked
    finally:
        asked.clear()
        (site / "attack.html").unlink()


def test_a_served_page_reloads_under_its_policy(site, new_page):
    server = SiteServer(site, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = new_page()
    page.goto(server.address)
    page.evaluate("document.documentElement.dataset.old = ''")
    page.wait_for_timeout(500)  # until it listens
    server.reload()
    expect(page.locator("html:not([data-old])")).to_have_count(1)
    page.goto("about:blank")
    server.shutdown()
    server.server_close()


# Charts


def test_charts_state_their_finding(site, addresses, new_page):
    "Drawn and live, in a role that is read out, with a sentence of their own that says more than the axes do."
    still, live, seen = new_page(java_script_enabled=False), new_page(), []
    for name in with_charts(site):
        still.goto(addresses["file"] + name)
        visit(live, addresses["file"] + name)
        for page, role in ((still, "img"), (live, "graphics-document")):
            for chart in page.eval_on_selector_all(".offline-chart", DRAWN):
                assert chart["role"] == role and chart["holds"] and len(chart["label"].split()) >= 8, (name, chart)
        seen += [chart["label"] for chart in still.eval_on_selector_all(".offline-chart", DRAWN)]
    assert len(set(seen)) == len(seen)


BEYOND = """(figures) => figures.flatMap((figure) => {
    const box = figure.getBoundingClientRect();
    return [...figure.querySelectorAll("svg text")]
        .map((text) => [text.textContent, text.getBoundingClientRect()])
        .filter(([_, { left, right }]) => left < box.left - 2 || right > box.right + 2).map(([text]) => text);
})"""


def test_pictures_of_charts_hold_their_letters(site, addresses, new_page):
    "Before the script draws them live, and without it: a picture was laid out for letters of a certain width."
    page = new_page(viewport={"width": 1280, "height": 900}, java_script_enabled=False)
    for name in with_charts(site):
        page.goto(addresses["file"] + name)
        assert not (found := page.eval_on_selector_all(".offline-chart", BEYOND)), (name, found)


POINTS = """(figure) => [...figure.querySelectorAll(
        ":is(.mark-symbol, .mark-rect, .mark-arc).role-mark > path, .mark-text.role-mark > text")]
    .map((mark) => [mark, mark.getBoundingClientRect()])
    .map(([mark, box]) => [mark, box.x + box.width / 2, box.y + box.height / 2])
    .filter(([mark, x, y]) => document.elementFromPoint(x, y) === mark).map(([_, x, y]) => [x, y])"""


def test_a_long_title_is_broken_into_lines_of_about_one_length(site, addresses, new_page):
    page = new_page(viewport={"width": 390, "height": 844})
    visit(page, addresses["file"] + "nbs/studies/overoptimized_judges.html")
    lines = page.locator(".offline-chart.live").first.locator(".role-title-text tspan").all_text_contents()
    lines = [len(line) for line in lines]
    assert len(lines) > 2 and min(lines) > max(lines) / 2, lines


def test_tooltips_show_numbers(site, addresses, new_page):
    "Over points and bars: the tooltip of a line would show the numbers of its first point everywhere."
    page = new_page(viewport={"width": 1280, "height": 1000})
    tooltip, silent = page.locator("#vg-tooltip-element.visible"), []
    for name in with_charts(site, '"tooltip"'):
        visit(page, addresses["http"] + name)
        for number, spec in enumerate(charts(site, name)):
            figure = page.locator(".offline-chart").nth(number)
            figure.scroll_into_view_if_needed()
            if '"tooltip"' in spec:
                for x, y in figure.evaluate(POINTS)[:20]:  # not every layer has a tooltip
                    page.mouse.move(x, y)
                    page.wait_for_timeout(30)
                    if tooltip.count():
                        break
                if not tooltip.count() or not re.search(r"\d", tooltip.inner_text()):
                    silent.append(f"{name}, chart {number + 1}")
                page.mouse.move(0, 0)
                expect(tooltip).to_have_count(0)
    assert not silent, silent


def test_a_slider_redraws_its_chart(site, addresses, new_page):
    page = new_page()
    for name in with_charts(site, SLIDER):
        visit(page, addresses["file"] + name)
        figures = page.locator(".offline-chart:has(input[type=range])")
        assert figures.count() == sum(SLIDER in spec for spec in charts(site, name)), name
        for figure in figures.all():
            slider, before = figure.locator("input[type=range]").first, figure.locator("svg").inner_html()
            at = slider.input_value()
            assert slider.evaluate("(slider) => slider.labels[0].innerText.trim()"), name
            for key in ("End", "Home"):
                slider.press(key)
                if slider.input_value() != at:
                    break
            assert slider.input_value() != at, name
            for _ in range(100):
                if figure.locator("svg").inner_html() != before:
                    break
                page.wait_for_timeout(50)
            assert figure.locator("svg").inner_html() != before, name


LEGEND = '"bind":"legend"'
FADED = """(figure) => [...figure.querySelectorAll(".role-legend-symbol path")]
    .map((mark) => mark.getAttribute("opacity"))"""


def rounded_from(text, number):
    "Whether a cell may show that number: to a percent, or to the places it has."
    place = 0.5 * 10 ** -len(text.partition(".")[2]) if "." in text and "e" not in text else 1e-3
    return any(abs(n - number) <= max(0.01 * abs(number) + 1e-3, 1.001 * place) for n in numbers([text]))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_keyboard_picks_from_a_legend_as_the_mouse_does(site, addresses, new_page, width):
    page = new_page(viewport={"width": width, "height": 900})
    for name in with_charts(site, LEGEND):
        visit(page, addresses["file"] + name)
        for number, spec in enumerate(charts(site, name)):
            figure = page.locator(".offline-chart").nth(number)
            entries = figure.locator(".role-legend [role=button]")
            assert bool(entries.count()) is (LEGEND in spec), f"{name}, chart {number + 1}"
            if not entries.count():
                continue
            pressed = partial(entries.evaluate_all, "(all) => all.map((entry) => entry.ariaPressed)")
            none, first = ["false"] * entries.count(), ["true"] + ["false"] * (entries.count() - 1)
            assert pressed() == none and all(entries.evaluate_all("(all) => all.map((entry) => entry.ariaLabel)"))
            entries.first.click()
            expect(entries.first).to_have_attribute("aria-pressed", "true")
            by_mouse = figure.evaluate(FADED)
            entries.first.focus()
            page.keyboard.press("Space")
            expect(entries.first).to_have_attribute("aria-pressed", "false")
            page.keyboard.press("Enter")
            expect(entries.first).to_have_attribute("aria-pressed", "true")
            assert figure.evaluate(FADED) == by_mouse and pressed() == first
            assert entries.first.evaluate("(entry) => entry === document.activeElement"), "focus stays where it was"
            if entries.count() == 1:
                continue
            page.keyboard.press("Tab")
            page.keyboard.press("Shift+Enter")
            expect(entries.nth(1)).to_have_attribute("aria-pressed", "true")
            assert pressed()[:2] == ["true", "true"], "Shift adds to the choice"
            page.keyboard.press("Enter")
            expect(entries.first).to_have_attribute("aria-pressed", "false")
            assert pressed() == none


NUMBER = r"[-−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?"


def numbers(texts):
    return [float(text.replace("−", "-").replace(",", "")) for text in texts if re.fullmatch(NUMBER, text)]


def test_each_chart_has_its_numbers_in_a_table(site, addresses, new_page):
    "What the chart computes by itself is checked to follow the slider, all else to be the chart's data."
    page = new_page()
    for name in with_charts(site):
        visit(page, addresses["file"] + name)
        for number, spec in enumerate(charts(site, name), start=1):
            figure = page.locator(".offline-chart").nth(number - 1)
            details = figure.locator("xpath=following-sibling::*[1][self::details]")
            assert details.count() == 1, f"{name}: chart {number} has no table"
            table = details.locator("table").first
            expect(table).to_be_hidden()
            details.locator("summary").press("Enter")
            expect(table).to_be_visible()
            head, cells = (details.locator(part).all_inner_texts() for part in ("thead th", "tbody :is(th, td)"))
            assert head and all(text.strip() for text in head) and len(numbers(cells)) > 2, (name, number)
            if details.get_attribute("data-computed") is None:
                known = [float(text) for text in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", spec)]
                strange = {text for text in cells if not any(rounded_from(text, k) for k in known)}
                strange = set(numbers(strange))
                assert not strange, f"{name}: in the table of chart {number}, but not in its data: {strange}"
            elif slider := figure.locator("input[type=range]").first.element_handle(timeout=1000):
                slider.press("End")
                expect(details.locator("tbody").first).not_to_have_text("".join(cells))


# Search, theme, keyboard


def plain_phrase(path):
    "Six plain words in a row from the prose of a notebook, and the line they stand in."
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"][2:]:
        for line in "".join(cell["source"]).splitlines():
            found = re.search(r"(?<=[a-z.,] )(?:[a-z]{2,} ){5}[a-z]{3,}(?=[ .,;])", line)
            if cell["cell_type"] == "markdown" and found and not re.search(r"[`$|<>#\[]", line):
                return found[0]
    raise AssertionError(f"{path} has no plain prose")


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_search_finds_a_phrase(site, addresses, new_page, scheme):
    "With the mouse on the home page, by keyboard alone on another."
    first, second = "nbs/losses.html", "nbs/prompt_internalization/describing.html"
    for name, start in ((first, "index.html"), (second, first)):
        phrase = plain_phrase(ROOT / Path(name).with_suffix(".ipynb"))
        page = new_page()
        page.goto(addresses[scheme] + start)
        hit = page.locator(f"#siteFound a[href*='{name}']").first
        if start == "index.html":
            page.locator("#siteSearch").click()
            page.keyboard.type(phrase.upper())
            hit.click()
        else:
            page.keyboard.press("/")
            page.keyboard.type(phrase)
            hit.wait_for()
            for _ in range(12):
                page.keyboard.press("Tab")
                if hit.evaluate("(hit) => hit === document.activeElement"):
                    break
            page.keyboard.press("Enter")
        page.wait_for_url(f"{addresses[scheme]}{name}*")
        assert phrase in " ".join(page.locator("main").inner_text().split()), (phrase, page.url)


ANSWERS = {
    "temperature": "nbs/studies/temperature.html",
    "BiLSTM": "nbs/studies/small_students.html",
    "does distillation help small models": "nbs/studies/small_students.html",
    "caching teachers' logits": "nbs/studies/caching_teacher_logits.html",
    "prompt internalizing": "series/prompt_internalization.html",
    "temperat": "nbs/studies/temperature.html",
}


def test_search_ranks_the_page_about_it_first_and_each_page_once(addresses, new_page):
    page = new_page()
    page.goto(addresses["file"] + "index.html")
    for query, name in ANSWERS.items():
        page.locator("#siteSearch").fill(query)
        first = page.locator("#siteFound > li > a").first
        expect(first).to_have_attribute("href", name)
        pages = page.locator("#siteFound > li > a:not(.part-of-page)")
        links = [link.get_attribute("href") for link in pages.all()]
        assert len(set(links)) == len(links) <= 8, query


def test_search_by_keyboard_alone(addresses, new_page):
    page = new_page()
    page.goto(addresses["http"])
    page.keyboard.press("/")
    page.keyboard.type("temperature")
    page.keyboard.press("Enter")  # whether the list is there yet or not
    page.wait_for_url("**/nbs/studies/temperature.html")
    page.locator("#siteSearch").fill("significance test")
    expect(page.locator("#siteFound > li")).not_to_have_count(0)
    focused = "document.activeElement.closest('#siteFound') ? document.activeElement.getAttribute('href') : 'input'"
    seen = []
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        seen.append(page.evaluate(focused))
    assert seen[0] == seen[2] != seen[1] and seen[3] == "input" != seen[4]
    page.keyboard.press("Escape")
    expect(page.locator("#siteFound")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "siteSearch"


class LostHandler(QuietHandler):
    "As the published site answers: a wrong address below it gets its page for that."

    def send_head(self):
        path = Path(self.translate_path(self.path))
        if not path.exists():
            self.path = f"{self.base}404.html"
        return super().send_head()


@pytest.mark.parametrize("base", ["/distillation-blog/", "/"])
def test_a_wrong_address_has_style_and_search_and_leads_to_the_site_at_hand(site, new_page, base):
    handler = type("Handler", (LostHandler,), {"base": base})
    served = partial(handler, directory=site.parent if base != "/" else site)
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}{base}"
        page = new_page()
        page.goto(f"{here}no/such/page.html")
        assert "system-ui" in page.evaluate("getComputedStyle(document.body).fontFamily")
        page.locator("#siteSearch").fill("temperature")
        page.locator("#siteFound a").first.click()
        page.wait_for_url(f"{here}nbs/studies/temperature.html")
        page.go_back()
        page.get_by_role("link", name=WEBSITE["title"]).first.click()
        page.wait_for_url(f"{here}index.html", wait_until="networkidle")
        page.goto("about:blank")
        server.shutdown()


def test_row_labels_of_a_wide_table_stay_below_their_name(site, addresses, new_page):
    page = new_page(viewport={"width": 390, "height": 844})
    moved = """(boxes) => boxes.filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth + 40)
    .map((box) => {
      box.scrollLeft = 9999;
      const [at, head, label] = [box, ...["thead", "tbody"].map((part) => box.querySelector(`${part} :is(th, td)`))]
        .map((part) => part.getBoundingClientRect().left);
      return [head - label, box.querySelector("colgroup, [rowspan]") ? 0 : label - at];
    })"""
    for name in with_charts(site):
        page.goto(addresses["file"] + name)
        found = page.eval_on_selector_all(".scroll:has(thead)", moved)
        assert all(abs(shift) < 2 for shifts in found for shift in shifts), (name, found)


WRAPPED = """(lines) => lines.filter((line) => line.textContent.search(/\\S/) in [...Array(13)]).map((line) => {
  const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT), range = document.createRange();
  range.selectNodeContents(line);
  const top = range.getBoundingClientRect().top;
  while (!walker.nextNode().data.trim());
  range.setStart(walker.currentNode, walker.currentNode.data.search(/\\S/));
  const [first, ...others] = range.getClientRects();
  const below = others.filter((box) => box.top > first.bottom).map((box) => box.left - first.left);
  return [line.textContent, first.top - top, below.length ? Math.min(...below) : null];
})"""


def test_a_long_line_of_code_goes_on_further_in(site, addresses, new_page):
    page = new_page(viewport={"width": 390, "height": 844})
    visit(page, addresses["file"] + rich_post(site))
    unfold(page)
    lines = page.eval_on_selector_all("pre.sourceCode > code > span", WRAPPED)
    assert sum(further is not None for _, _, further in lines) > 10, "no line is too long"
    for text, dropped, further in lines:
        assert dropped < 4 and (further is None or further > 4), text


def test_a_category_picks_its_posts(addresses, new_page):
    page = new_page()
    page.goto(addresses["file"] + "library.html")
    listed = page.locator(".posts > li:visible")
    all_posts = listed.count()
    page.get_by_role("navigation", name="Categories").get_by_role("link", name=re.compile("^evaluation")).click()
    page.wait_for_url("**category=evaluation")
    assert 0 < listed.count() < all_posts
    for post in listed.all():
        assert "evaluation" in json.loads(post.get_attribute("data-categories"))
    assert page.locator("section:visible").count() == page.locator("section:visible:has(li:visible)").count()


def test_home_has_three_findings_that_can_be_read(site, addresses, new_page):
    for width, columns in ((1280, 3), (390, 1)):
        page = new_page(viewport={"width": width, "height": 900})
        page.goto(addresses["http"])
        cards = page.locator(".cards > li")
        boxes = [card.bounding_box() for card in cards.all()]
        assert len(boxes) == 3 and len({round(box["x"]) for box in boxes}) == columns
        for card in cards.all():
            picture = card.locator("img")
            picture.scroll_into_view_if_needed()
            assert picture.bounding_box()["width"] >= 300 and picture.get_attribute("alt").strip()
            assert len(card.locator(".claim").inner_text()) > 20
        cards.nth(1).click(position={"x": 20, "y": 20})
        page.wait_for_url("**/nbs/studies/*.html")


def test_one_switch_shows_and_hides_all_code(site, addresses, new_page):
    page = new_page()
    name = next(name for name in names(site) if (site / name).read_text("utf-8").count('<details class="code') > 1)
    page.goto(addresses["file"] + name)
    switch, code = page.locator("#siteCode"), page.locator("details.code")
    assert page.locator("details.code pre:visible").count() == 0
    for words, opened in (("Hide all code", code.count()), ("Show all code", 0)):
        switch.click()
        expect(page.locator("details.code[open]")).to_have_count(opened)
        expect(switch).to_have_text(words)
    code.first.locator("summary").click()
    expect(switch).to_have_text("Show all code")
    switch.click()
    expect(page.locator("details.code[open]")).to_have_count(code.count())


def test_terms_lead_to_the_glossary(site, addresses, new_page):
    linked = [
        name for name in names(site) if name.startswith("nbs/") and 'class="term"' in (site / name).read_text("utf-8")
    ]
    assert len(linked) > 20
    page = new_page()
    page.goto(addresses["http"] + linked[0])
    term = page.locator("a.term").first
    anchor = term.get_attribute("href").partition("#")[2]
    term.click()
    page.wait_for_url(f"**/glossary.html#{anchor}")
    assert page.locator(f"#{anchor}").is_visible()
    for name in linked:
        found = re.findall(
            r'href="[^"]*#([\w-]+)" class="term"|class="term"[^>]*#([\w-]+)"', (site / name).read_text("utf-8")
        )
        found = ["".join(pair) for pair in found]
        assert len(found) == len(set(found)), name


def test_search_says_when_nothing_is_found_and_goes_away(addresses, new_page):
    page = new_page()
    page.goto(addresses["http"])
    page.locator("#siteSearch").fill("zzqx")
    expect(page.locator("#siteFound")).to_contain_text("Nothing")
    expect(page.locator("[role=status]")).to_have_text("0 found")
    page.keyboard.press("Escape")
    expect(page.locator("#siteFound")).to_be_hidden()


LIGHTNESS = """() => ["backgroundColor", "color"].map((part) => getComputedStyle(document.body)[part])
    .map((colour) => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, part) => sum + part / 765, 0))"""


def looks(page):
    "light or dark, by what is painted."
    paper, ink = page.evaluate(LIGHTNESS)
    assert abs(paper - ink) > 0.5, (paper, ink)
    return "light" if paper > ink else "dark"


def come_with_choice(page, address, choice):
    "Open a page when what was chosen on another has reached it: Chromium's processes tell each other with a delay."
    page.goto(address)
    deadline = time.monotonic() + 20
    while page.evaluate("localStorage.getItem('theme')") != choice and time.monotonic() < deadline:
        page.wait_for_timeout(100)
        page.goto(address)


@pytest.mark.parametrize("scheme", ["http", "file"])
@pytest.mark.parametrize("system", THEMES)
def test_theme_follows_the_system_until_a_choice_that_is_kept(site, addresses, new_page, scheme, system):
    other = THEMES[system == "light"]
    page = new_page(color_scheme=system)
    home, post = addresses[scheme] + "index.html", addresses[scheme] + with_charts(site)[0]
    visit(page, post)
    label = page.locator(".offline-chart.live svg text").first
    ink = "(label) => getComputedStyle(label).fill"
    seen, before = [looks(page)], label.evaluate(ink)
    page.emulate_media(color_scheme=other)
    seen.append(looks(page))
    page.emulate_media(color_scheme=system)
    page.locator("#siteTheme").press("Enter")
    seen.append(looks(page))
    assert label.evaluate(ink) != before  # the chart goes along
    come_with_choice(page, post, other)
    enliven(page)
    seen.append(looks(page))
    come_with_choice(page, home, other)
    seen.append(looks(page))
    for scheme_now in (other, system):
        page.emulate_media(color_scheme=scheme_now)
        seen.append(looks(page))
    expect(page.locator("#siteTheme")).to_have_attribute("aria-pressed", str(other == "dark").lower())
    page.locator("#siteTheme").click()
    come_with_choice(page, post, None)
    assert [*seen, looks(page)] == [system, *[other] * 6, system]


FOCUSED = """() => {
  const part = document.activeElement, style = getComputedStyle(part), box = part.getBoundingClientRect();
  const first = part !== document.body && !reached.has(part);
  reached.add(part);
  return { first, name: part.id || part.className || part.innerText || part.tagName, html: part.outerHTML.slice(0, 120),
    ring: parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== "none" && style.opacity === "1",
    seen: box.width > 1 && box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight };
}"""
# Tab stops once at a group of radio buttons; arrows go on from there.
UNREACHED = """() => {
  const alike = (part) => [...reached].some((one) => one.type === "radio" && one.name === part.name);
  return [...document.querySelectorAll("a[href], button, input, summary, select, [tabindex='0']")]
    .filter((part) => part.checkVisibility() && !reached.has(part) && !(part.type === "radio" && alike(part)))
    .map((part) => part.outerHTML.slice(0, 120));
}"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("words", [SLIDER, LEGEND], ids=["slider", "legend"])
def test_the_keyboard_reaches_everything_and_shows_where_it_is(site, addresses, new_page, width, words):
    page = new_page(viewport={"width": width, "height": 800})
    visit(page, addresses["http"] + (rich_post(site) if words == SLIDER else with_charts(site, LEGEND)[0]))
    page.evaluate("window.reached = new Set()")
    order = []
    while True:
        page.keyboard.press("Tab")
        part = page.evaluate(FOCUSED)
        if not part["first"]:
            break
        assert part["ring"] and part["seen"], part
        order.append(part["name"])
    assert page.evaluate(UNREACHED) == []
    assert words == SLIDER or page.evaluate("[...reached].some((part) => part.closest('.role-legend'))")
    assert order[0] == "skip" and order.index("brand") < order.index("siteSearch") < order.index("siteTheme") < 12, (
        order
    )
    for text in ("Colab", "Notebook", "Source", "copy"):
        assert text in order, (text, order)
    page.locator(".skip").press("Enter")
    assert page.evaluate("document.activeElement.matches('main')")
    page.keyboard.press("Tab")
    assert page.evaluate("!!document.activeElement.closest('main')")


# What the files say


class Parts(HTMLParser):
    "What an HTML page refers to, by tag, and its ids."

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.loaded, self.scripts = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        fields = {name: value or "" for name, value in attributes}
        self.ids |= {fields[name] for name in ("id", "name") if name in fields and tag != "meta"}
        targets = [fields[name] for name in ("href", "src", "poster", "data") if name in fields and tag != "svg"]
        targets += [part.split()[0] for part in fields.get("srcset", "").split(",") if part.strip()]
        self.links += targets
        self.loaded += targets if tag not in ("a", "use") else []
        if tag == "meta" and fields.get("property") in ("og:image", "og:url"):
            self.links.append(fields["content"])
        if tag == "script":
            self.scripts.append(fields)


@cache
def parts(path):
    return Parts(path.read_text(encoding="utf-8"))


def dead(site, address):
    "What is wrong with an absolute address below the site's or in the repository; empty if nothing is."
    repository = re.compile(
        rf"{WEBSITE['repo-url']}/(?:blob|tree|raw)/{WEBSITE['repo-branch']}/".replace(
            "https://github.com/", "https://(?:github.com|colab.research.google.com/github)/"
        )
    )
    if source := repository.match(address):
        return "" if (ROOT / urlsplit(address[source.end() :]).path).exists() else "not in the repository"
    if not address.startswith(BASE):
        return ""
    link = urlsplit(address.removeprefix(BASE))
    there = site / (unquote(link.path) or "index.html")
    if not there.is_file():
        return "no such file"
    known = not link.fragment or unquote(link.fragment) in parts(there).ids
    return "" if known else "no such anchor"


def test_no_link_is_dead_and_no_image_is_missing(site):
    faults, checked = [], 0
    for name in names(site):
        for target in parts(site / name).links:
            checked += 1
            if fault := dead(site, urljoin(BASE + name, target)):
                faults.append(f"{name}: {target}: {fault}")
        remote = [target for target in parts(site / name).loaded if re.match(r"(https?:)?//", target)]
        faults += [f"{name}: loads {target}" for target in remote if not target.startswith(BASE)]
    assert not faults, "\n".join(faults)
    assert checked > 1000 and "package.html" in names(site)
    for path in (*site.rglob("*.css"), site / "404.html"):
        assert not re.search(r"url\(\s*[\"']?(?:https?:)?//|@import", path.read_text(encoding="utf-8")), path


def words(text):
    "Words of some HTML without scripts, marks and headings' anchors."
    text = re.sub(r"<(script|style|svg|annotation)\b.*?</\1>|<a class=\"anchor\".*?</a>", " ", text, flags=re.DOTALL)
    text = re.sub(r"</?span\b[^>]*>", "", text)  # colours of code
    return re.findall(r"[\w.]+", re.sub(r"<[^>]*>|&\w+;|&#\d+;", " ", text))


def test_the_feed_has_what_each_post_opens_with_and_is_light(site):
    assert (site / "index.xml").stat().st_size < 300_000
    channel = ElementTree.parse(site / "index.xml").getroot().find("channel")
    items = channel.findall("item")
    posts = {name for name in names(site) if name.startswith("nbs/")}
    linked = {item.findtext("link").removeprefix(BASE) for item in items}
    assert linked <= posts and len(linked) == len(items) == min(20, len(posts))
    assert len({item.findtext("guid") for item in items}) == len(items)
    dates = [parsedate_to_datetime(item.findtext("pubDate")) for item in items]
    assert dates == sorted(dates, reverse=True) and all(day.tzinfo for day in dates)
    assert channel.find("{http://www.w3.org/2005/Atom}link").get("href") == f"{BASE}index.xml"
    faults = []
    for item in items:
        name = item.findtext("link").removeprefix(BASE)
        content = item.findtext("{http://purl.org/rss/1.0/modules/content/}encoded")
        opening = (site / name).read_text(encoding="utf-8").partition("<!-- article -->")[2].partition("<h2")[0]
        sentence = re.search(r"<p>(?!<)(.*?)</p>", opening, re.DOTALL)
        assert sentence is None or set(words(sentence[1])) <= set(words(content)), name
        assert "<script" not in content and item.findtext("title") and item.findtext("description"), name
        for address in re.findall(r'\b(?:href|src)="([^"]*)"', content):
            if not re.match(r"https?:|data:|mailto:", address):
                faults.append(f"{name}: {address} is relative")
            elif fault := dead(site, address.replace("&amp;", "&")):
                faults.append(f"{name}: {address}: {fault}")
    assert not faults, "\n".join(faults)


def test_sitemap_has_every_page(site):
    places = ElementTree.parse(site / "sitemap.xml").getroot().findall("{*}url")
    listed = [place.findtext("{*}loc").removeprefix(BASE) or "index.html" for place in places]
    assert sorted(listed) == sorted(set(names(site)) - {"404.html"})
    for place in places:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", place.findtext("{*}lastmod", "2026-01-01"))


def test_posts_are_light_and_paint_without_a_script(site):
    for name in names(site):
        text = (site / name).read_text(encoding="utf-8")
        text = re.sub(r"data:image/(?:png|jpeg|webp|gif);base64,[\w+/=]+", "", text)
        linked = [urljoin(BASE + name, target) for target in parts(site / name).loaded]
        files = [site / address.removeprefix(BASE) for address in linked if address.startswith(BASE)]
        files = [path for path in files if path.suffix in (".css", ".js") and path.name != "charts.js"]
        weight = sum(len(gzip.compress(data)) for data in (text.encode(), *(path.read_bytes() for path in files)))
        assert weight < 300_000, (name, weight)
        assert files or name == "404.html", name
        head = text.partition("</head>")[0]
        blocking = [
            script
            for fields, script in re.findall(r"<script\b([^>]*)>(.*?)</script>", head, re.DOTALL)
            if not re.search(r"\b(?:defer|async|type=\"(?:module|application/[\w+]*json)\")", fields)
        ]
        assert len(blocking) <= 1 and all(0 < len(script) < 200 and "\n" not in script for script in blocking), name


# How it looks


def axe_report(page):
    "Serious and critical violations, at most five of a kind."
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}) {node['target']}: {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:5]
    ]


@pytest.mark.parametrize("kind", ["home", "post", "legend", "package", "missing", "library", "series", "glossary"])
@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_serious(site, addresses, new_page, kind, theme):
    names = {"home": "index.html", "post": rich_post(site), "package": "package.html", "missing": "404.html"}
    names |= {"library": "library.html", "series": "series/prompt_internalization.html", "glossary": "glossary.html"}
    names["legend"] = with_charts(site, LEGEND)[0]
    page = new_page(color_scheme=theme, viewport={"width": 1280 if theme == "light" else 390, "height": 900})
    visit(page, addresses["http"] + names[kind])
    unfold(page)
    report = axe_report(page)
    assert not report, f"{names[kind]}, {theme}:\n" + "\n".join(report)


def test_print_shows_the_text_and_what_is_unfolded(site, addresses, new_page):
    page = new_page(color_scheme="light")
    name = next(
        name for name in with_charts(site) if (site / name).read_text("utf-8").count('<details class="code') > 1
    )
    visit(page, addresses["http"] + name)
    page.locator("#siteTheme").click()
    page.locator("details.code summary").first.click()
    page.emulate_media(media="print")
    for part in (".bar", ".contents", ".skip", ".foot", ".copy", ".exported", "details.code:not([open])"):
        assert page.locator(part).count() and page.locator(f"{part}:visible").count() == 0, part
    assert looks(page) == "light"  # ink on paper, also for who reads in the dark
    assert page.locator("h1:visible").count() == 1
    assert page.locator("details.code pre:visible").count() == 1
    assert all(chart.is_visible() for chart in page.locator(".offline-chart svg").all())
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", THEMES)
def test_pictures_for_people_to_look_at(site, addresses, new_page, theme, width):
    folder = ROOT / "artifacts" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    page = new_page(color_scheme=theme, viewport={"width": width, "height": 1600})
    pictures = {}
    others = (("package", "package.html"), ("missing", "404.html"), ("home", "index.html"), ("library", "library.html"))
    others += (("series", "series/prompt_internalization.html"), ("glossary", "glossary.html"))
    for kind, name in (*others, ("post", rich_post(site))):
        visit(page, addresses["http"] + name)
        pictures[kind] = page.screenshot()
    page.locator(".offline-chart").first.scroll_into_view_if_needed()
    pictures["chart"] = page.locator(".offline-chart").first.screenshot()
    page.emulate_media(media="print")
    pictures["print"] = page.screenshot()
    for kind, picture in pictures.items():
        (folder / f"{kind}-{theme}-{width}.png").write_bytes(picture)
        assert len(picture) > 10_000, kind
