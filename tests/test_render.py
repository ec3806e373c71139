"`blog render` as processes: one page or all, mistakes, the server that reloads, and Quarto where it is installed."

import html
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TITLES = {"losses": "Losses & café", "deep/sweep": "A sweep"}


def cell(kind: str, source: str) -> dict:
    own = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "id": f"c{abs(hash(source))}", "metadata": {}, "source": [source]} | own


class Checkout:
    """A folder that `blog` takes for a clone, and calls to `blog` in it, without Quarto on PATH."""

    def __init__(self, root: Path):
        self.root, self.site = root, root / "_site"
        for name in ("nbs/deep", "blog", "bin"):
            (root / name).mkdir(parents=True)
        for name in ("settings.ini", "library.qmd", "404.qmd", "nbs/references.bib"):
            shutil.copy(ROOT / name, root / name)
        (root / "index.qmd").write_text('---\ntitle: Home\ntoc: false\n---\n::: {.from-posts show="studies"}\n:::\n')
        (root / "about.qmd").write_text("---\ntitle: About\ntoc: false\n---\nWhat it is.\n")
        (root / "glossary.qmd").write_text(
            '---\ntitle: Glossary\ntoc: true\n---\n## Price {also="prices"}\n\nA price.\n'
        )
        config = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
        del config["website"]["sidebar"]  # its posts are not here
        (root / "_quarto.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        shutil.copytree(ROOT / "nbs/site/assets", root / "nbs/site/assets")
        (root / "blog/losses.py").write_text('__all__ = ["kl"]\n\n\ndef kl():\n    "Divergence < 1."\n')
        for name in TITLES:
            self.write(name, "What it costs.")
        # the package comes from here, whatever the folder of the checkout holds
        self.environment = os.environ | {"PATH": str(root / "bin"), "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}

    def write(self, name: str, text: str, more: str = "") -> None:
        front = f'---\ntitle: "{TITLES[name]}"\ndescription: "About it"\ndate: 2026-11-20\n{more}---'
        cells = [cell("raw", front), cell("code", f"#| default_exp {name.replace('/', '.')}"), cell("markdown", text)]
        cells.append(cell("code", "open('ran', 'w')"))
        notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        new = self.root / "new"
        new.write_text(json.dumps(notebook), encoding="utf-8")
        os.replace(new, self.root / f"nbs/{name}.ipynb")

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        options = {"cwd": self.root, "env": self.environment, "stdout": subprocess.PIPE, "text": True} | options
        command = [sys.executable, "-m", "blog.cli", "render", *arguments]
        return subprocess.Popen(command, stderr=subprocess.PIPE, **options)

    def render(self, *arguments: str, **options) -> tuple[int, str, str]:
        with self.start(*arguments, **options) as process:
            out, err = process.communicate(timeout=60)
            return process.returncode, out, err

    def fake_quarto(self, script: str) -> None:
        (self.root / "bin/quarto").write_text(f"#!/bin/sh\n{script}\n")
        (self.root / "bin/quarto").chmod(0o755)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_behind(checkout: Checkout) -> list[str]:
    return [path.name for path in checkout.root.iterdir() if path.name.startswith("._site")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a földer")


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Checkout:
    "A checkout with its site, for tests that leave both as they find them."
    made = Checkout(tmp_path_factory.mktemp("shared") / "checkout")
    assert made.render()[0] == 0
    return made


def test_everything_then_only_what_changed(checkout):
    status, out, err = checkout.render(cwd=checkout.root / "nbs")
    assert (status, err) == (0, "")
    assert re.fullmatch(
        r"Preview builder, as quarto is not on PATH: 8 pages rendered, 0 unchanged, in \d+\.\d s\. "
        rf"Open {checkout.site}/index\.html\n",
        out,
    )
    assert {"index.html", "nbs/losses.html", "nbs/deep/sweep.html", "404.html"} <= files(checkout.site).keys()
    before = files(checkout.site)
    checkout.write("losses", "What it costs, and why.")
    status, out, _ = checkout.render("--post", "losses")
    assert status == 0 and ": 1 page rendered, 7 unchanged," in out
    assert out.endswith("Open _site/nbs/losses.html\n")
    changed = {name for name, text in files(checkout.site).items() if before[name] != text}
    assert {"nbs/losses.html", "nbs/losses.ipynb"} <= changed and "nbs/deep/sweep.html" not in changed


def test_names_of_posts_as_in_the_other_commands(shared):
    for name in ("deep/sweep", "nbs/deep/sweep.ipynb"):
        status, out, _ = shared.render("--post", name)
        assert status == 0 and out.endswith("Open _site/nbs/deep/sweep.html\n")
    status, out, err = shared.render("--post", "deep/swep")
    assert (status, out) == (2, "")
    assert err.startswith(f"blog: no post 'deep/swep' in {shared.root}/nbs. Did you mean deep/sweep?")


@pytest.mark.parametrize(
    "text, more, told",
    [
        ("![](images/none.png)", "", "nbs/losses.ipynb, cell 3: the image images/none.png does not exist.\n"),
        ("Fine.", "image: none.png\n", "nbs/losses.ipynb, cell 1: the image none.png does not exist.\n"),
        (
            "[gone](none.ipynb)",
            "",
            "nbs/losses.ipynb, cell 3: the link to nbs/none.ipynb leads to no page of the site.\n",
        ),
    ],
)
def test_a_mistake_is_one_line_and_the_last_site_stays(shared, text, more, told):
    before = files(shared.site)
    shared.write("losses", text, more)
    assert shared.render() == (1, "", f"blog: {told}")
    assert shared.render("--post", "losses") == (1, "", f"blog: {told}")
    assert files(shared.site) == before
    assert not [path.name for path in shared.root.iterdir() if path.name.startswith("._site")]
    shared.write("losses", "What it costs.")


def test_two_renders_at_once_make_one_whole_site(checkout):
    "Both end well, and what is left is the site that either makes alone, without pages of two builds in it."
    assert checkout.render()[0] == 0
    expected = files(checkout.site)
    for known in (True, False):  # with and without what the last build has kept
        if not known:
            shutil.rmtree(checkout.root / ".quarto")
        processes = [checkout.start() for _ in range(3)]
        ends = [(process.communicate(timeout=120), process.returncode) for process in processes]
        assert [status for _, status in ends] == [0, 0, 0], ends
        assert files(checkout.site) == expected and left_behind(checkout) == []


@pytest.mark.parametrize("most", [2_000, 9_000, 200_000])
def test_a_full_disk_is_told_in_one_line_and_the_last_site_stays(checkout, most):
    "`most` bytes to a file stand in for it: a page, the style, the charts' script do not fit."
    assert checkout.render()[0] == 0
    before = files(checkout.site)
    checkout.write("losses", "What it costs, and why. " * 400)
    shutil.rmtree(checkout.root / ".quarto")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    status, out, err = checkout.render(preexec_fn=limit)
    if most < 10_000:
        assert (status, out) == (1, "") and err.startswith("blog: ") and err.count("\n") == 1, err
        assert "File too large" in err and "Traceback" not in err
        assert files(checkout.site) == before and left_behind(checkout) == []
    else:
        assert status == 0, err
    status, _, err = checkout.render()
    assert (status, err) == (0, "") and files(checkout.site) != before


def test_no_torch_and_no_execution(shared):
    code = (
        "import sys\nsys.argv = ['blog', 'render']\nfrom blog.cli.commands import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*{'torch', 'transformers', 'altair', 'nbclient', 'jupyter_client', 'papermill'} & sys.modules.keys())"
    )
    told = subprocess.check_output([sys.executable, "-c", code], cwd=shared.root, env=shared.environment, text=True)
    assert told.splitlines()[-1] == ""
    assert not list(shared.root.rglob("ran"))


class Served:
    """`blog render --serve` on a free port; what it says arrives in `lines`."""

    def __init__(self, checkout: Checkout, *arguments: str):
        heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a background shell ignores it
        self.process = checkout.start("--serve", "--port", "0", *arguments, **heard)
        self.lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        for name in self.lines:
            threading.Thread(target=self.listen, args=(name,), daemon=True).start()
        self.address = re.search(r"http://127\.0\.0\.1:\d+/", self.line("Serving"))[0]

    def listen(self, name: str) -> None:
        for line in getattr(self.process, name):
            self.lines[name].append(line)

    def line(self, start: str, stream: str = "stdout") -> str:
        "The first line that begins so; waits for it."
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if found := [line for line in self.lines[stream] if line.startswith(start)]:
                return found[0]
            assert self.process.poll() is None, self.lines
            time.sleep(0.02)
        raise AssertionError(f"no line {start!r} in {self.lines}")

    def get(self, path: str) -> str:
        return urllib.request.urlopen(self.address + path, timeout=5).read().decode()


@pytest.fixture
def served(checkout):
    server = Served(checkout, "--post", "losses")
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.wait()


def version(page: str) -> str:
    return re.search(r'EventSource\("/\.reload"\).*"(\d+)"', page)[1]


def test_serve(checkout, served):
    assert served.line("Serving").split()[1] == f"{served.address}nbs/losses.html,"
    old = served.get("nbs/losses.html")
    assert "What it costs." in old and "EventSource" not in (checkout.site / "nbs/losses.html").read_text()
    assert version(old) == version(served.get("")) == version(served.get("index.html?category=a"))
    with pytest.raises(urllib.error.HTTPError) as wrong:
        served.get("nothing/here.html")
    assert wrong.value.code == 404 and b"Page not found" in wrong.value.read()

    with urllib.request.urlopen(f"{served.address}.reload", timeout=20) as events:
        assert events.readline().decode() == f"data: {version(old)}\n"
        checkout.write("losses", "What it costs, and why.")  # a page reloads on this:
        changed = next(line for line in events if line.startswith(b"data:")).decode()  # between them comments
        assert re.fullmatch(r"data: \d+\n", changed) and changed != f"data: {version(old)}\n"
        new = served.get("nbs/losses.html")
        assert "and why." in new and f"data: {version(new)}\n" == changed

        checkout.write("losses", "![](none.png)")
        told = served.line("blog: ", "stderr")
        assert told == "blog: nbs/losses.ipynb, cell 3: the image none.png does not exist.\n"
        assert served.get("nbs/losses.html") == new, "the last good page"
        checkout.write("losses", "It is mended.")
        assert next(line for line in events if line.startswith(b"data:")).decode() != changed
        assert "It is mended." in served.get("nbs/losses.html"), "no reload for the mistake"

    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(timeout=10) == 0
    assert served.line("No longer") == "No longer serving.\n"
    assert served.lines["stderr"] == [told]


def test_serve_answers_this_machine_only(served):
    port = int(served.address.rsplit(":", 1)[1].strip("/"))
    listening = f":{port:04X}"
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    if not tables[0].exists():
        pytest.skip("/proc/net/tcp is Linux's")
    rows = [row.split()[1] for table in tables if table.exists() for row in table.read_text().splitlines()[1:]]
    assert {row for row in rows if row.endswith(listening)} == {f"0100007F{listening}"}  # 127.0.0.1


def test_port_in_use(shared):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, out, err = shared.render("--serve", "--port", str(port))
    assert (status, out) == (2, "")
    assert err == f"blog: cannot serve on port {port}: Address already in use. Choose another with --port.\n"


# A stand-in for `quarto render [SOURCE] --output-dir FOLDER`, as no test may depend on Quarto. Files in the checkout
# say how it ends: `fail`, `die`, `slow`, `nothing`.
STAND_IN = """
echo "$@" > asked; echo "quarto says: $1"; python -c "import sys; print(sys.prefix)"
for out; do :; done
case "$2" in --output-dir) names="index about";; *) names="${2%.ipynb}";; esac
mkdir -p "$out/nbs/deep"; touch "$out/sitemap.xml"
for name in $names; do
  echo "made $(cat version)" > "$out/$name.html"
  if [ -e fail ]; then echo "ERROR: of quarto" >&2; exit 7; fi
  if [ -e die ]; then kill -9 $$; fi
  if [ -e slow ]; then touch half; exec sleep 60; fi
done
if [ -e nothing ]; then rm "$out/index.html"; fi
"""


@pytest.fixture
def with_quarto(checkout):
    "A checkout with a stand-in for Quarto on PATH, and its first site."
    checkout.fake_quarto(STAND_IN)
    checkout.environment["PATH"] += os.pathsep + os.environ["PATH"]
    (checkout.root / "version").write_text("one")
    status, out, err = checkout.render()
    assert (status, err) == (0, "")
    said, python, line = out.splitlines()
    assert (said, python) == ("quarto says: render", sys.prefix)
    assert re.fullmatch(r"Quarto: 2 pages rendered, 0 unchanged, in \d+\.\d s\. Open _site/index\.html", line)
    return checkout


def pages(checkout: Checkout) -> dict[str, str]:
    return {name: text.decode().strip() for name, text in files(checkout.site).items() if name.endswith(".html")}


def test_quarto_renders_beside_the_last_site(with_quarto):
    asked = (with_quarto.root / "asked").read_text().split()
    assert asked[:2] == ["render", "--output-dir"] and (with_quarto.root / "._site").name in " ".join(asked[2:])
    assert pages(with_quarto) == {"index.html": "made one", "about.html": "made one"}
    (with_quarto.root / "version").write_text("two")
    status, out, _ = with_quarto.render("--post", "deep/sweep")
    assert status == 0 and out.endswith("Open _site/nbs/deep/sweep.html\n"), "one page, beside those that are there"
    assert "Quarto: 1 page rendered, 2 unchanged" in out
    assert (with_quarto.root / "asked").read_text().startswith("render nbs/deep/sweep.ipynb --output-dir ")
    whole = {"index.html": "made one", "about.html": "made one", "nbs/deep/sweep.html": "made two"}
    assert pages(with_quarto) == whole and left_behind(with_quarto) == []


def test_one_page_by_quarto_stands_among_those_by_the_preview_builder(checkout):
    assert checkout.render()[0] == 0
    before = pages(checkout)
    checkout.fake_quarto(STAND_IN)
    checkout.environment["PATH"] += os.pathsep + os.environ["PATH"]
    (checkout.root / "version").write_text("two")
    assert checkout.render("--post", "losses")[0] == 0
    assert (checkout.root / "asked").read_text().startswith("render nbs/losses.ipynb --output-dir ")
    assert pages(checkout) == before | {"nbs/losses.html": "made two"}


@pytest.mark.parametrize(
    "how, status, told",
    [
        ("fail", 7, "ERROR: of quarto\nblog: quarto ended with status 7. The last site stays.\n"),
        ("die", 137, "blog: quarto ended with status 137. The last site stays.\n"),
        ("nothing", 1, "as version 1.8 or newer does; the last site stays.\n"),
    ],
)
def test_when_quarto_fails_the_last_site_stays(with_quarto, how, status, told):
    before = files(with_quarto.site)
    (with_quarto.root / "version").write_text("two")
    (with_quarto.root / how).touch()
    found, _, err = with_quarto.render(*(("--post", "losses") if how == "fail" else ()))
    assert found == status and err.endswith(told), err
    assert files(with_quarto.site) == before and left_behind(with_quarto) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_render_that_is_killed_half_way_leaves_the_last_site(with_quarto, number):
    before = files(with_quarto.site)
    (with_quarto.root / "slow").touch()
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), "start_new_session": True}
    with with_quarto.start(**heard) as process:
        end = time.monotonic() + 20
        while not (with_quarto.root / "half").exists() and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(process.pid, number)  # as a terminal does with Ctrl-C: Quarto hears it too
        process.communicate(timeout=20)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert files(with_quarto.site) == before
    (with_quarto.root / "slow").unlink()
    (with_quarto.root / "version").write_text("two")
    assert with_quarto.render()[0] == 0 and pages(with_quarto)["index.html"] == "made two"


def broken(checkout: Checkout, what: str) -> str:
    "Put a mistake into the checkout; what is said about it."
    path, more = checkout.root / "nbs/losses.ipynb", "image: none.png\n"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if what == "malformed":
        path.write_text("{")
        return "nbs/losses.ipynb is not a notebook: "
    if what == "slug":
        shutil.copy(path, checkout.root / "nbs/LOSSES.ipynb")
        return "have the same address"
    if what == "chart":
        chart = '<div class="offline-chart"><svg></svg></div>'
        output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": chart}}
        notebook["cells"].append(cell("code", "show(chart)") | {"outputs": [output]})
        path.write_text(json.dumps(notebook))
        return "nbs/losses.ipynb, cell 5: the chart has no alt text; "
    if what == "image":
        checkout.write("losses", "Fine.", more)
        return "nbs/losses.ipynb, cell 1: the image none.png does not exist."
    notebook["cells"][0]["source"] = "".join(notebook["cells"][0]["source"]).replace(f"{what}:", "other:")
    path.write_text(json.dumps(notebook))
    return f"nbs/losses.ipynb, cell 1: the front matter has no {what}."


def test_bad_input_is_told_in_one_line_before_quarto_starts(with_quarto):
    before, good = files(with_quarto.site), (with_quarto.root / "nbs/losses.ipynb").read_bytes()
    (with_quarto.root / "asked").unlink()
    for what in ("malformed", "title", "date", "image", "slug", "chart"):
        told = broken(with_quarto, what)
        status, out, err = with_quarto.render(*(("--post", "deep/sweep") if what == "image" else ()))
        assert (status, out) == (1, "") and err.startswith("blog: ") and told in err and err.count("\n") == 1, err
        (with_quarto.root / "nbs/LOSSES.ipynb").unlink(missing_ok=True)
        (with_quarto.root / "nbs/losses.ipynb").write_bytes(good)
    assert files(with_quarto.site) == before and not (with_quarto.root / "asked").exists()


def test_serve_with_quarto(with_quarto):
    "One server for both ways: loopback only, a page alone where one notebook changes, the last good page otherwise."
    served = Served(with_quarto, "--post", "losses")
    try:
        assert served.line("Serving").split()[1] == f"{served.address}nbs/losses.html,"
        assert served.get("nbs/losses.html").endswith("made one\n")
        (with_quarto.root / "version").write_text("two")
        with urllib.request.urlopen(f"{served.address}.reload", timeout=20) as events:
            events.readline(), events.readline()
            with_quarto.write("losses", "What it costs, and why.")
            events.readline()
            assert served.get("nbs/losses.html").endswith("made two\n")
            assert served.get("").endswith("made one\n")
            (with_quarto.root / "fail").touch()
            with_quarto.write("losses", "Worse.")
            assert served.line("blog: ", "stderr").startswith("blog: quarto ended with status 7. The last site stays.")
            assert served.get("nbs/losses.html").endswith("made two\n")
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(timeout=10) == 0
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.wait()


def step(checkout: Checkout, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "blog.site.render", name]
    options = {"cwd": checkout.root, "env": checkout.environment | environment}
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_what_quarto_needs_beforehand(checkout):
    assert step(checkout, "prepare").returncode == 0
    page = (checkout.root / "package.qmd").read_text(encoding="utf-8")
    assert page.startswith("---\ntitle: Package\n")
    assert "`blog.losses`" in page and "Divergence &lt; 1." in page
    known = json.loads((checkout.root / ".quarto/pages.json").read_text(encoding="utf-8"))
    assert known.keys() == {
        "index.qmd",
        "library.qmd",
        "glossary.qmd",
        "about.qmd",
        "404.qmd",
        "package.qmd",
        "nbs/losses.ipynb",
        "nbs/deep/sweep.ipynb",
    }
    assert "Colab</a>" in known["nbs/losses.ipynb"]["header"]
    checkout.write("losses", "![](none.png)")
    done = step(checkout, "prepare")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "blog: nbs/losses.ipynb, cell 3: the image none.png does not exist.\n"


def test_what_is_made_of_quartos_pages(checkout):
    out = checkout.root / "rendered"
    (out / "nbs").mkdir(parents=True)
    text = '<main><!-- article --><h2 id="a">A</h2>{}<!-- /article --></main>'
    for name in ("index", "nbs/losses"):
        (out / f"{name}.html").write_text(text.format("<p>Sharp teachers.</p>"))
    done = step(checkout, "finish", QUARTO_PROJECT_OUTPUT_DIR=str(out))
    assert (done.returncode, done.stderr) == (0, "")
    made = files(out)
    assert {"search.js", "site.js", "style.css", "index.xml", "sitemap.xml", "nbs/losses.ipynb"} <= made.keys()
    assert b'class="anchor" href="#a"' in made["nbs/losses.html"] and b"Sharp teachers" in made["search.js"]
    assert b"nbs/deep/sweep.html" not in made["sitemap.xml"], "a page that Quarto did not write is nowhere"
    assert step(checkout, "finish", QUARTO_PROJECT_OUTPUT_DIR=str(out)).returncode == 0 and files(out) == made
    (out / "nbs/losses.html").write_text(text.format("<script>alert(1)</script>"))
    done = step(checkout, "finish", QUARTO_PROJECT_OUTPUT_DIR=str(out))
    assert done.returncode == 1 and done.stderr.startswith("blog: nbs/losses.ipynb: <script> would run")


@pytest.mark.skipif(shutil.which("quarto") is None, reason="quarto is not on PATH")
@pytest.mark.timeout(600)
def test_a_page_by_quarto_is_the_page_by_the_preview_builder(checkout):
    text = """## Losses & café

The loss is $T^2$, as in [@hinton2015distilling] and [there](deep/sweep.ipynb#what).

::: {.callout-note title="Mind `this`"}
Inside.
:::

| a | b |
|---|---|
| 1 | 5 % |

*At what price*, and again at what price?
"""
    checkout.write("losses", text, "subtitle: The price\n")
    (checkout.root / "series").mkdir()
    (checkout.root / "series/one.qmd").write_text("---\ntitle: One\ntoc: false\n---\nOf [losses]{.finding}\n")
    assert checkout.render()[0] == 0
    preview = pages(checkout)
    shutil.copytree(
        ROOT / "nbs/site", checkout.root / "nbs/site", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.ipynb")
    )
    checkout.environment["PATH"] += os.pathsep + os.environ["PATH"]
    done = subprocess.run(
        [sys.executable, "-m", "blog.cli", "render"],
        cwd=checkout.root,
        env=checkout.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "Quarto: " in done.stdout, done.stderr
    assert not re.findall(r"^.*(?:WARN|ERROR).*$", done.stdout + done.stderr, re.MULTILINE)
    quarto = pages(checkout)
    assert quarto.keys() == preview.keys()

    def plain(page: str) -> list[str]:  # tags that open, without attributes, and words
        page = re.sub(r"<(?:/\w+|([a-z]\w*)\b[^>]*)>", r" <\1> ", page.partition("<main")[2].replace("&nbsp;", " "))
        return [html.unescape(part) for part in re.findall(r"<[a-z]\w*>|[^\s<>]+", page)]

    for name in preview:
        assert plain(quarto[name]) == plain(preview[name]), name
        assert quarto[name].count('class="term"') == (name == "nbs/losses.html"), name
    assert "<p>Of About it</p>" in quarto["series/one.html"]
