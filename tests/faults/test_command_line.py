"""The command line under what people do to it: mistyped options, odd streams and folders, notebooks of any content.

Whatever it is, it ends in an exit status and a sentence; a traceback is never shown. One process loads the command once
and answers each request in a fork of itself, so that hundreds of them take seconds.
"""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SECRET = "s3cret-w0rd"
SERVER = """
import contextlib, io, json, os, signal, sys, tempfile
import blog.prompt_internalization.describing, blog.site.render, blog.studies.cosine_temperature_scaling
from blog.cli.commands import main

with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    sys.argv = ["blog", "list"]
    main()  # which imports what it needs
for line in sys.stdin:
    asked = json.loads(line)
    out, err = (tempfile.TemporaryFile() for _ in range(2))
    if not (child := os.fork()):
        signal.alarm(60)
        os.chdir(asked["folder"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.environ.update(asked["environment"])
        sys.argv = ["blog", *(os.fsdecode(bytes.fromhex(one)) for one in asked["arguments"])]
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        try:
            main()
        except SystemExit as end:
            status = end.code
        except BaseException as error:
            print("Traceback", repr(error), file=sys.stderr)
            status = 99
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = [file.seek(0) or file.read().decode(errors="replace") for file in (out, err)]
    print(json.dumps([status, *texts]), flush=True)
"""


class Answer(NamedTuple):
    status: int
    out: str
    err: str

    def sentence(self) -> str:
        "What the command says of a failure, which is neither a traceback nor an error that nobody foresaw."
        assert "Traceback (most" not in self.out + self.err and self.status in (1, 2), self
        assert "The traceback is in" not in self.err and SECRET not in self.out + self.err, self
        assert re.match(r"blog: |Usage: |Error: ", self.err), self
        return self.err


@pytest.fixture(scope="module")
def blog():
    "Calls the command in a folder."
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("BLOG_PRESET", None)
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=-1, stdout=-1, text=True) as server:

        def call(folder: Path, *arguments: str, **environment: str) -> Answer:
            hexed = [os.fsencode(one).hex() for one in arguments]
            asked = {"folder": str(folder), "arguments": hexed, "environment": environment}
            server.stdin.write(json.dumps(asked) + "\n")
            server.stdin.flush()
            return Answer(*json.loads(server.stdout.readline()))

        yield call
        server.stdin.close()


FRONT = "---\ntitle: A\ndate: 2026-01-01\npresets: {smoke: 1 s}\n---"


def notebook(*cells: object, **more) -> dict:
    front = {"cell_type": "raw", "metadata": {}, "source": FRONT}
    return {"cells": [front, *cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 4} | more


def code(source: object = "1", **more) -> dict:
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None} | more


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    "A folder that the command takes for a clone, with one post."
    (tmp_path / "nbs").mkdir()
    (tmp_path / "settings.ini").touch()
    parameters = code("seeds = 1\nstorage = None", metadata={"tags": ["parameters"]})
    (tmp_path / "nbs/post.ipynb").write_text(json.dumps(notebook(parameters)))
    return tmp_path


VALUES = [
    *("", " ", "-1", "0", "1.5", "9" * 30, "nan", "true", "é", "\udce9", "a\nb", "..", "../..", "/", "/dev/null", "-"),
    *("--", "x" * 5000, "{", "[1", "a=b", "seeds=[1", "seeds={1: a, 1: b}", "seeds=!!bool x", "%s", "{0}", "~", "*"),
    *("nbs", "settings.ini", "\x1b[31m", f"postgresql://ada:{SECRET}@nowhere/x", f"storage=db:/ada:{SECRET}@nowhere/x"),
    *("sqlite:////proc/x/y.db", f"nowhere?password={SECRET}"),
]
COMMANDS = {  # the arguments that each needs, one of which is not there, so that nothing is run, trained or made
    "list": [["more"]],
    "run": [["absent"], ["post", "-p", "absent=1"], ["post", "--preset", "absent"]],
    "describe": [["a text", "--noun", "absent", "--model", "absent"]],
    "sweep": [["absent"], ["smoke", "--method", "absent"]],
    "paper": [["absent"], ["post"]],
    "cache list": [["more"]],
    "cache verify": [["absent"]],
    "cache clear": [["absent"], []],
    "render": [["--post", "absent"]],
    "doctor": [["more"]],
    "absent": [[]],
    "cache absent": [[]],
}


def test_no_option_of_no_command_ends_in_a_traceback(blog, checkout):
    draw, asked = random.Random(13), 0
    for command, needed in COMMANDS.items():
        told = blog(checkout, *command.split(), "--help").out
        options = sorted(set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", told)) - {"-h", "--help", "--serve"})
        for option in [*options, "--absent", "-z", ""]:
            for value in draw.sample(VALUES, 4):
                odd = [part for part in (option, value) if part or not option]
                words = [*command.split(), *draw.choice(needed), *odd]
                answer = blog(checkout, *words)
                assert answer.status == 0 or answer.sentence(), words
                assert SECRET not in answer.out + answer.err, words
                asked += 1
    assert asked > 150


OUTPUT = {"output_type": "stream", "name": "stdout", "text": "a"}
MALFORMED = {  # what stands in the file -> what is said of it
    "empty": "",
    "cut": json.dumps(notebook(code()))[:-20],
    "not JSON": "# A script",
    "a list": "[]",
    "a number": "3",
    "null": "null",
    "no cells": {"nbformat": 4},
    "cells are a mapping": notebook(cells={}),
    "cells are null": notebook(cells=None),
    "cell is text": notebook("x"),
    "cell is null": notebook(None),
    "cell without source": notebook({"cell_type": "code", "metadata": {}, "outputs": []}),
    "cell without type": notebook({"source": "x", "metadata": {}}),
    "cell of another type": notebook(code(cell_type="heading")),
    "source is a number": notebook(code(3)),
    "source is null": notebook(code(None)),
    "source of numbers": notebook(code([1, 2])),
    "outputs are a mapping": notebook(code(outputs={})),
    "output is text": notebook(code(outputs=["x"])),
    "output without type": notebook(code(outputs=[{"text": "x"}])),
    "output of a listed type": notebook(code(outputs=[{"output_type": ["stream"]}])),
    "HTML of a number": notebook(code(outputs=[{"output_type": "display_data", "data": {"text/html": ["a", 3]}}])),
    "output of null": notebook(code(outputs=[OUTPUT | {"text": None}])),
    "metadata is a list": notebook(code(metadata=[])),
    "tags are a number": notebook(code(metadata={"tags": 3})),
    "tags of numbers": notebook(code(metadata={"tags": [1]})),
    "metadata of all is text": notebook(metadata="x"),
    "format 3": {"nbformat": 3, "worksheets": [{"cells": []}]},
    "format is text": notebook(nbformat="4"),
    "half a character": json.dumps(notebook(code("print('\ud800')"))),
    "BOM": b"\xef\xbb\xbf" + json.dumps(notebook(code())).encode(),
    "UTF-16": json.dumps(notebook(code())).encode("utf-16"),
    "bytes of Latin-1": json.dumps(notebook(code("é")), ensure_ascii=False).encode("latin-1"),
    "NUL": b"\0" * 1000,
    "nesting without end": "[" * 100_000,
    "number without end": '{"nbformat": ' + "4" * 5000 + "}",
    "date that is none": notebook(cells=[{"cell_type": "raw", "source": FRONT.replace("01-01", "02-30")}]),
    "front matter of another type": notebook(
        cells=[{"cell_type": "raw", "source": FRONT.replace("{smoke: 1 s}", "3")}]
    ),
    "tag that is none": notebook(cells=[{"cell_type": "raw", "source": FRONT.replace("title: A", "title: !!int A")}]),
}


def spoil(path: Path, content: object) -> None:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_notebook_is_named_by_every_command(blog, checkout, kind):
    spoil(checkout / "nbs/broken.ipynb", MALFORMED[kind])
    for command in ("list", "run broken", "paper broken"):
        assert "nbs/broken.ipynb" in blog(checkout, *command.split()).sentence(), command


def test_what_stands_in_the_place_of_a_notebook_is_named(blog, checkout):
    (checkout / "nbs/folder.ipynb").mkdir()
    (checkout / "nbs/link.ipynb").symlink_to("nowhere")
    (checkout / "nbs/circle.ipynb").symlink_to("circle.ipynb")
    os.mkfifo(checkout / "nbs/pipe.ipynb")
    told = blog(checkout, "list").sentence()
    for name in ("folder", "link", "circle", "pipe"):
        assert f"nbs/{name}.ipynb" in told
        assert f"nbs/{name}.ipynb" in blog(checkout, "run", name).sentence()


def test_a_notebook_in_another_language_is_not_run(blog, checkout):
    spoil(
        checkout / "nbs/other.ipynb", notebook(code("x <- 1"), metadata={"kernelspec": {"name": "ir", "language": "R"}})
    )
    assert blog(checkout, "list").status == 0
    assert "nbs/other.ipynb is in R" in blog(checkout, "run", "other", "--preset", "smoke").sentence()


def shell(folder: Path, script: str, **environment: str) -> Answer:
    "What a script of the shell gives, in which BLOG is the command."
    environment = os.environ | {"BLOG": f"{sys.executable} -m blog.cli", "PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "script, status, told",
    [
        ("$BLOG list <&- >&- 2>&-", 0, ""),
        ("$BLOG run absent <&- 2>&-", 2, ""),
        ("$BLOG list > /dev/full", 1, "blog: cannot write to <stdout>: No space left on device.\n"),
        ("$BLOG list | true; exit ${PIPESTATUS[0]}", 141, ""),
        ("$BLOG run post --preset smoke | head -1 > /dev/null; exit ${PIPESTATUS[0]}", 141, ""),
        ("mkdir gone; cd gone; rmdir ../gone; $BLOG list", 1, "blog: the current folder is gone: change to another.\n"),
        ("HOME=/proc TMPDIR=/nowhere LC_ALL=C TERM= COLUMNS=0 PYTHONWARNINGS=error $BLOG list", 0, ""),
        ("COLUMNS=1 NO_COLOR=1 $BLOG list | grep -q 'post *smoke *1 s' && echo Post as always", 0, ""),
        ("env -i PYTHONPATH=$PYTHONPATH HOME=/proc $BLOG run post --preset smoke > /dev/null", 0, ""),
        ("$BLOG cache list --folder a", 2, "blog: there is no folder a: name one of caches with --folder.\n"),
    ],
)
def test_odd_streams_folders_and_environments(checkout, script, status, told):
    answer = shell(checkout, script)
    assert (answer.status, answer.err) == (status, told)
    assert answer.out == "" or answer.out.startswith("Post ")


def test_a_full_disk_is_said_before_a_run_and_leaves_no_empty_notebook(checkout):
    answer = shell(checkout, "ulimit -f 0; $BLOG run post --preset smoke --output-dir full")
    assert (answer.status, answer.err) == (
        2,
        "blog: cannot write to full: File too large. Choose another --output-dir.\n",
    )
    assert list((checkout / "full").iterdir()) == []


def test_a_run_keeps_and_shows_no_password_and_leaves_no_temporary_folder(checkout):
    url = f"postgresql://ada:{SECRET}@db/x"
    cells = [
        code("storage = None", metadata={"tags": ["parameters"]}),
        code("import tempfile\ntempfile.mkdtemp()\nstorage"),
    ]
    fails = code("print(storage)\nraise ValueError(f'cannot reach {storage}')")
    spoil(checkout / "nbs/failing.ipynb", notebook(*cells, fails))
    (checkout / "tmp").mkdir()
    answer = shell(checkout, f"$BLOG run failing --preset smoke -p storage={url}", TMPDIR=str(checkout / "tmp"))
    assert answer.status == 1 and "ValueError: cannot reach postgresql://***@db/x" in answer.err
    assert "    postgresql://***@db/x\n" in answer.out and SECRET not in answer.out + answer.err
    (kept,) = (checkout / "runs").iterdir()
    assert SECRET not in kept.read_text() and "ada:" not in kept.read_text()
    assert not list((checkout / "tmp").iterdir())


def test_a_run_that_is_told_to_end_takes_its_kernel_and_folders_with_it(checkout):
    waits = "import os, tempfile, time\ntempfile.mkdtemp()\nprint('pid', os.getpid(), flush=True)\ntime.sleep(60)"
    spoil(checkout / "nbs/waiting.ipynb", notebook(code(waits)))
    (checkout / "tmp").mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(checkout / "tmp")}
    command = [sys.executable, "-m", "blog.cli", "run", "waiting", "--preset", "smoke"]
    with subprocess.Popen(command, cwd=checkout, env=environment, stdout=-1, stderr=-1, text=True) as run:
        kernel = next(int(line.split()[1]) for line in run.stdout if "pid" in line)
        run.terminate()
        _, err = run.communicate(timeout=60)
    assert run.returncode == 143 and err.startswith("blog: interrupted in cell 1 of 1")
    assert not list((checkout / "tmp").iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)


def test_what_a_killed_run_left_is_removed_by_the_next(checkout):
    waits = code("import tempfile, time\ntempfile.mkdtemp()\nprint('begun', flush=True)\ntime.sleep(60)")
    spoil(checkout / "nbs/waiting.ipynb", notebook(waits))
    (checkout / "tmp").mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(checkout / "tmp")}
    command = [sys.executable, "-m", "blog.cli", "run", "waiting", "--preset", "smoke"]
    with subprocess.Popen(command, cwd=checkout, env=environment, stdout=-1, text=True) as run:
        assert any("begun" in line for line in run.stdout)
        run.kill()
    assert len(list((checkout / "tmp").iterdir())) == 1
    assert shell(checkout, "$BLOG run post --preset smoke", TMPDIR=str(checkout / "tmp")).status == 0
    assert not list((checkout / "tmp").iterdir())


def test_a_preset_of_any_name_stays_in_the_folder(checkout):
    told = json.dumps(notebook(code("1"))).replace("{smoke: 1 s}", "{../../x: 1 s}")
    (checkout / "nbs/post.ipynb").write_text(told)
    assert shell(checkout, "$BLOG run post --preset ../../x").status == 0
    assert [path.name for path in (checkout / "runs").iterdir()] == ["post-..-..-x.ipynb"]


def test_titles_write_nothing_but_text_to_the_terminal(blog, checkout):
    (checkout / "nbs/post.ipynb").write_text(json.dumps(notebook()).replace("title: A", r"title: \"A\\e]0;B\\a\""))
    answer = blog(checkout, "list")
    assert answer.status == 0 and "A]0;B" in answer.out and not set(answer.out) & {"\x1b", "\x07"}


def test_an_error_that_nobody_foresaw_is_a_sentence_with_a_file(checkout):
    (checkout / "sitecustomize.py").write_text(
        "import blog.cli.execution as execution\n"
        f"execution.chosen_parameters = lambda *_: {{}}['db://ada:{SECRET}@x\\nmore']\n"
    )
    answer = shell(checkout, "PYTHONPATH=$PWD:$PYTHONPATH $BLOG run post", TMPDIR=str(checkout))
    assert answer.status == 1 and SECRET not in answer.err
    told = re.fullmatch(r"blog: KeyError: .*\*\*\*@x.* The traceback is in (\S+)\.\n", answer.err)
    kept = Path(told[1]).read_text()
    assert kept.startswith("Traceback (most recent call last)") and SECRET not in kept
