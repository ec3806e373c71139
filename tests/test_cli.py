"""The `blog` command as processes: what a person at a terminal, a log file and a shell script get from it."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from blog.cli.execution import notebook_text
from blog.site.notebooks import read_notebook

MATTER = '---\ntitle: "Café: a post"\npresets: {smoke: "1 s", embedded: "2 s"}\n---'
PARAMETERS = 'import os\n\npreset = os.environ.get("BLOG_PRESET", "embedded")\nseeds = 1\nrate = 0.5'
GOOD = [
    MATTER,
    "# Set-up",
    PARAMETERS,
    "## Training {#training}",
    "import sys\nimport time\n\nfor n in range(20):\n    print(f'\\r{n}%|##', end='', file=sys.stderr, flush=True)\n"
    "    time.sleep(0.02)\nprint(file=sys.stderr)\nprint('early', flush=True)\ntime.sleep(0.7)\nprint('late')",
    "## Result",
    "import pandas as pd\n\nprint(preset, seeds, rate, os.environ['BLOG_PRESET'], os.path.basename(os.getcwd()))\n"
    "pd.DataFrame({'accuracy': [0.94], 'of': ['student']})",
]


def notebook(*sources: str) -> dict:
    """Text starting with --- becomes a raw cell, with # markdown, else code; two cells get their tags by their text."""

    def cell(n: int, text: str) -> dict:
        kind = "raw" if text.startswith("---") else "markdown" if text.startswith("#") else "code"
        tags = ["parameters"] if text == PARAMETERS else ["result"] if "DataFrame" in text else []
        made = {"cell_type": kind, "id": f"c{n}", "metadata": {"tags": tags} if tags else {}}
        made |= {"execution_count": None, "outputs": []} if kind == "code" else {}
        return made | {"source": text.splitlines(keepends=True)}

    kernel = {"display_name": "python3", "language": "python", "name": "python3"}
    cells = [cell(n, text) for n, text in enumerate(sources)]
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


class Checkout:
    """A folder that `blog` takes for a clone, and calls to `blog` in it."""

    def __init__(self, root: Path):
        self.root = root
        (root / "nbs/deep").mkdir(parents=True)
        shutil.copy(Path(__file__).parents[1] / "settings.ini", root)
        self.environment = {key: value for key, value in os.environ.items() if key != "BLOG_PRESET"}

    def post(self, name: str, *sources: str) -> Path:
        path = self.root / "nbs" / f"{name}.ipynb"
        path.write_text(notebook_text(notebook(*sources)), encoding="utf-8")
        return path

    def start(self, *args: str, **options) -> subprocess.Popen:
        options = {"cwd": self.root, "env": self.environment, "stdout": subprocess.PIPE, "text": True} | options
        return subprocess.Popen([sys.executable, "-m", "blog.cli", *args], **options)

    def blog(self, *args: str, **options) -> tuple[int, str, str]:
        with self.start(*args, stderr=subprocess.PIPE, **options) as process:
            out, err = process.communicate(timeout=60)
            return process.returncode, out, err


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a {braced} földer")


def test_import_is_cheap():
    heavy = "torch transformers datasets papermill nbformat nbclient huggingface_hub altair pandas numpy nbdev".split()
    code = f"import sys, blog.cli.commands; print(*[name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def test_help_in_both_spellings(checkout):
    status, out, err = checkout.blog("-h")
    assert (status, err) == (0, "")
    assert all(command in out for command in ("list", "run", "describe", "render", "doctor"))
    assert "completion" not in out
    assert checkout.blog("run", "--help") == checkout.blog("run", "-h")


def test_run_prints_progress_output_and_result(checkout):
    checkout.post("deep/good", *GOOD)
    process = checkout.start("run", "deep/good", "--preset", "smoke", "-p", "seeds=3", "-p", "rate=1e-4")
    arrived, out = {}, ""
    for line in process.stdout:
        arrived[line] = time.monotonic()
        out += line
    assert process.wait() == 0
    cells = re.findall(r"^(\d/\d) +[\d.]+ s  (.+)$", out, re.MULTILINE)
    assert cells == [("1/3", "Set-up"), ("2/3", "Training"), ("3/3", "Result")]
    assert out.startswith("deep/good, preset smoke (expected: 1 s), seeds=3, rate=0.0001\n")
    assert arrived["    late\n"] - arrived["    early\n"] > 0.3, "output is shown while the cell runs"
    assert re.findall(r".*%\|.*", out) == ["    19%|##"], "a progress bar leaves one line in a log"
    assert out.index("\nsmoke 3 0.0001 smoke deep\n\n") < out.index("0      0.94  student")
    executed = checkout.root / "runs/deep-good-smoke.ipynb"
    assert out.splitlines()[-1] == "Executed notebook: runs/deep-good-smoke.ipynb"
    assert [file.name for file in executed.parent.iterdir()] == [executed.name]
    assert [cell["execution_count"] for cell in read_notebook(executed)["cells"] if "outputs" in cell][-1] == 4


def test_progress_bar_moves_on_a_terminal(checkout):
    bar = (
        "import sys\nimport time\n\nfor n in range(9):\n    print(f'\\r{n}%|##', end='', file=sys.stderr, flush=True)\n"
    )
    checkout.post("bar", MATTER, bar + "    time.sleep(0.1)")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    process = checkout.start("run", "bar", stdout=slave, stderr=slave, stdin=slave, text=False)
    os.close(slave)
    screen = b""
    while True:
        try:
            screen += os.read(master, 4096)
        except OSError:  # Linux's way of saying that the other end is closed
            break
    assert process.wait() == 0
    assert len(set(re.findall(rb"\r\x1b\[K    (\d+)%\|##", screen))) > 1
    os.close(master)


def test_failing_cell(checkout):
    checkout.post("deep/bad", MATTER, PARAMETERS, "## Parsing", "import json\n\njson.loads('{')", "print('never')")
    older = checkout.root / "mine/deep-bad-embedded.ipynb"
    older.parent.mkdir()
    older.write_text("an older good result")
    status, out, err = checkout.blog("run", "nbs/deep/bad.ipynb", "--output-dir", "mine")
    assert status == 1
    assert "never" not in out
    assert err.splitlines()[0] == "blog: failed in cell 2 of 3 (under “Parsing”), line 3: json.loads('{')"
    assert re.search(r"raised in \S+decoder.py:\d+, JSONDecoder.raw_decode\n  JSONDecodeError: Expecting prop", err)
    assert err.splitlines()[-1] == "Partial notebook: mine/deep-bad-embedded.partial.ipynb"
    assert older.read_text() == "an older good result"
    partial = older.with_suffix(".partial.ipynb").read_text(encoding="utf-8")
    assert "JSONDecodeError" in partial


def test_kernel_that_dies(checkout):
    checkout.post(
        "dying", MATTER, "import os, signal", "print('alive', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    status, _, err = checkout.blog("run", "dying")
    assert status == 1
    assert err.startswith("blog: failed in cell 2 of 2 (under “Café: a post”): the kernel died")
    assert (checkout.root / "runs/dying-embedded.partial.ipynb").exists()


def test_interrupt(checkout):
    checkout.post("slow", MATTER, "## Waiting", "import time\n\nprint('waiting', flush=True)\ntime.sleep(60)")
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a background shell ignores it
    process = checkout.start("run", "slow", stderr=subprocess.PIPE, **heard)
    while "waiting" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.splitlines() == [
        "blog: interrupted in cell 1 of 1 (under “Waiting”)",
        "Partial notebook: runs/slow-embedded.partial.ipynb",
    ]
    assert "waiting" in (checkout.root / "runs/slow-embedded.partial.ipynb").read_text(encoding="utf-8")


def test_save_outputs(checkout):
    path = checkout.post("deep/good", *GOOD)
    before = read_notebook(path)
    status, out, _ = checkout.blog("run", "deep/good", "--save-outputs")
    assert status == 0
    assert out.splitlines()[-1] == "Outputs stored in nbs/deep/good.ipynb"
    after = read_notebook(path)
    outputs = [cell.pop("outputs") for cell in after["cells"] if "outputs" in cell]
    for cell in before["cells"]:
        cell.pop("outputs", None)
    assert after == before, "nothing but outputs changes"
    assert outputs[1] == [{"name": "stdout", "output_type": "stream", "text": ["early\n", "late\n"]}], (
        "no bar is stored"
    )
    assert outputs[2][0]["text"] == ["embedded 1 0.5 embedded deep\n"]
    assert "text/html" in outputs[2][1]["data"]
    stored = path.read_bytes()
    clean = "from nbdev.clean import nbdev_clean; import sys; nbdev_clean.__wrapped__(sys.argv[1])"
    subprocess.run([sys.executable, "-c", clean, path], check=True, cwd=checkout.root)
    assert path.read_bytes() == stored, "nbdev_clean finds nothing to clean"


def test_save_outputs_refuses_a_post_edited_meanwhile(checkout):
    edit = "from pathlib import Path\n\nfile = Path('edited.ipynb')\n"
    edit += "file.write_text(file.read_text().replace('Intro', 'New'))"
    path = checkout.post("edited", MATTER, "# Intro", edit)
    status, out, err = checkout.blog("run", "edited", "--save-outputs")
    assert (status, err) == (1, "blog: the post was edited while it ran: its outputs are not stored. Run it again.\n")
    assert "Executed notebook: runs/edited-embedded.ipynb" in out
    assert read_notebook(path)["cells"][1]["source"] == ["# New"]
    assert read_notebook(path)["cells"][2]["outputs"] == []


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["deep/god"], "blog: no post 'deep/god' in ROOT/nbs. Did you mean deep/good? Valid: deep/good."),
        (
            ["deep/good", "--preset", "smoked"],
            "deep/good has no preset 'smoked'. Did you mean smoke? Valid: smoke, emb",
        ),
        (["deep/good", "-p", "seed=3"], "deep/good has no parameter 'seed'. Did you mean seeds? Valid: seeds, rate."),
        (["deep/good", "-p", "seeds"], "-p 'seeds': expected name=value, like -p seeds=3."),
        (["deep/good", "-p", "seeds=[1"], "-p 'seeds=[1': "),
        (["deep/good", "-p", "preset=smoke"], "choose the preset with --preset."),
        (["deep/good", "-p", "seeds=3", "--save-outputs"], "edit its parameters cell instead of -p."),
        (["deep/good", "--output-dir", "settings.ini"], "cannot write to settings.ini: File exists."),
        (["broken"], "ROOT/nbs/broken.ipynb is not a notebook: Expecting"),
        (["bare"], "ROOT/nbs/bare.ipynb: there is no front matter between two lines of ---."),
    ],
)
def test_mistakes_get_one_line_and_status_2(checkout, arguments, told):
    checkout.post("deep/good", *GOOD)
    checkout.post("bare", "# No front matter")
    (checkout.root / "nbs/broken.ipynb").write_text("{")
    status, out, err = checkout.blog("run", *arguments)
    assert (status, out) == (2, "")
    assert told.replace("ROOT", str(checkout.root)) in err
    assert err.startswith("blog: ") and err.count("\n") == 1
    assert not (checkout.root / "runs").exists()


def test_preset_from_the_environment_is_checked_too(checkout):
    checkout.post("deep/good", *GOOD)
    status, _, err = checkout.blog("run", "deep/good", env=checkout.environment | {"BLOG_PRESET": "smokey"})
    assert (status, err) == (2, "blog: deep/good has no preset 'smokey'. Did you mean smoke? Valid: smoke, embedded.\n")


def test_list(checkout):
    checkout.post("deep/good", *GOOD)
    checkout.post("bare", "# No front matter")
    status, out, err = checkout.blog("list", cwd=checkout.root / "nbs/deep")
    assert status == 0
    assert [line.split() for line in out.splitlines()] == [
        ["Post", "Presets"],
        ["deep/good", "smoke", "1", "s"],
        ["Café:", "a", "post", "embedded", "2", "s"],
    ]
    assert err.startswith("blog: left out: ") and "bare.ipynb: there is no front matter" in err
    status, out, _ = checkout.blog("list", "--json")
    row = {"name": "deep/good", "title": "Café: a post", "presets": {"smoke": "1 s", "embedded": "2 s"}}
    assert json.loads(out) == [row]


def test_a_former_name_is_answered_with_the_new_one(checkout):
    moved = [MATTER.replace("presets", "formerly: [old/place]\npresets"), *GOOD[1:]]
    checkout.post("deep/good", *moved)
    status, out, err = checkout.blog("run", "old/place", "--preset", "smoke")
    assert (status, err) == (0, "")
    assert out.startswith("old/place is now deep/good.\ndeep/good, preset smoke")


def test_a_study_that_was_split_from_a_chapter_is_told_by_its_preset_and_parameters(checkout):
    checkout.post("deep/old", MATTER.replace("embedded", "other"), "# A chapter", "print('chapter')")
    study = [MATTER.replace("presets", "formerly: [deep/old]\npresets"), PARAMETERS, "print('study', seeds)"]
    checkout.post("deep/study", *study)
    status, out, _ = checkout.blog("run", "deep/old", "--preset", "smoke")
    assert status == 0 and "    chapter\n" in out
    assert out.endswith("\nThe study of deep/old is now deep/study.\n")
    for arguments in (["--preset", "embedded"], ["--preset", "smoke", "-p", "seeds=[7,8]"]):
        status, out, _ = checkout.blog("run", "deep/old", *arguments)
        assert status == 0 and out.startswith("deep/old is now deep/study.\n") and "    study " in out
    assert "    study [7, 8]\n" in out


def test_paper_of_a_post_without_results(checkout):
    checkout.post("deep/good", *GOOD)
    status, out, err = checkout.blog("paper", "deep/good")
    assert (status, out) == (2, "") and err.startswith("blog: good.ipynb holds no table or chart; run it first")


def test_kernels_load_without_bars(checkout):
    names = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS", "TRANSFORMERS_VERBOSITY")
    checkout.post("quiet", MATTER, f"import os\n\nprint(*[os.environ[name] for name in {names}])")
    environment = {key: value for key, value in checkout.environment.items() if key not in names}
    status, out, _ = checkout.blog("run", "quiet", env=environment)
    assert status == 0 and "    1 1 error\n" in out


def test_terminal_without_unicode(checkout):
    checkout.post("deep/good", *GOOD)
    status, out, _ = checkout.blog("list", env=checkout.environment | {"PYTHONIOENCODING": "ascii"})
    assert status == 0
    assert "Caf?: a post" in out


def test_outside_a_checkout(tmp_path):
    shutil.copytree(
        Path(__file__).parents[1] / "blog", tmp_path / "site/blog", ignore=shutil.ignore_patterns("__pycache__")
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-m", "blog.cli", "list"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    told = f"blog: no posts found from {tmp_path} upward: clone the repository and run `blog` inside it.\n"
    assert done.stderr == told


def test_doctor(checkout):
    offline = checkout.environment | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(checkout.root / "no cache")}
    offline.pop("HF_HUB_CACHE", None)
    status, out, err = checkout.blog("doctor", env=offline)
    assert (status, err) == (0, "")
    assert {line.split()[0] for line in out.splitlines()} <= {"ok", "warn"}
    assert re.search(r"^ok +torch \d+\.\d+\S* on (cpu, \d+ threads|cuda|mps)", out, re.MULTILINE)
    for topic in (
        "Python 3",
        "required packages",
        "bf16",
        "kernel python3",
        "quarto",
        "altair",
        "GiB free for the repos",
    ):
        assert topic in out
    assert "warn  hub not asked, HF_HUB_OFFLINE is set: the cache is empty: only embedded presets run" in out
