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
