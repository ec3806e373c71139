"""Publishing, against a stand-in that speaks the hub's protocol: what arrives, what never does, and what goes wrong."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hub_stand_in import Hub
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from blog.core.files import check_folder

WORKER, TOKEN = str(Path(__file__).with_name("publishing_worker.py")), "hf_SecretOfThisTest"
MODEL = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
OURS = {"README.md", "manifest.json", "summary.json"}


def run(hub: str, *command: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": hub, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment | {"OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> tuple[Hub, dict, Path, str]:
    "The hub after all that the worker did, what the worker found, its folder, and its output."
    folder = tmp_path_factory.mktemp("published")
    with Hub({TOKEN: "me"}) as hub:
        hub.repos["you/taken"] = {}
        done = run(hub.address, WORKER, str(folder), "everything")
        assert done.returncode == 0, done.stderr[-3000:]
        yield hub, json.loads((folder / "found.json").read_text()), folder, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("job", "repo", "more"),
    [("distill", "me/classifier", set()), ("train", "me/reader", {"prompt_internalization.json"})],
)
def test_what_arrives_is_what_was_saved(told, job, repo, more):
    hub, found, folder, _ = told
    assert hub.repos[repo].keys() == MODEL | OURS | more
    assert hub.visible[repo] == "private"
    student = folder / job / "student"
    assert found[job]["student"] == str(student)
    for name, content in hub.repos[repo].items():
        assert content == (student / name).read_bytes(), name
    check_folder(student)


def test_what_arrived_loads_as_a_model(told, tmp_path):
    hub, _, folder, _ = told
    for repo, kind in {"me/classifier": AutoModelForSequenceClassification, "me/reader": AutoModelForMaskedLM}.items():
        there = tmp_path / repo.partition("/")[2]
        there.mkdir()
        for name, content in hub.repos[repo].items():
            (there / name).write_bytes(content)
        model = kind.from_pretrained(there)
        saved = load_file(folder / ("distill" if "classifier" in repo else "train") / "student/model.safetensors")
        weights = model.state_dict()
        assert all(weights[name].equal(value) for name, value in saved.items())
        assert AutoTokenizer.from_pretrained(there)("savings")["input_ids"]
        card = hub.repos[repo]["README.md"].decode()
        assert card.startswith("---\nlibrary_name: transformers\n") and "seed" in card
        if kind is AutoModelForSequenceClassification:
            assert set(model.config.id2label.values()) == {"balance", "oos", "transfer"}


def test_a_finished_student_is_pushed_once_and_nothing_while_it_trains(told):
    hub, found, _, out = told
    commits = [(repo, revision) for repo, revision, _ in hub.commits]
    assert commits == [("me/classifier", "main"), ("me/reader", "main"), ("me/branched", "second")]
    assert "me/try-out" not in hub.repos
    assert out.count("published: http") == 3, "`resume` finds all of it there, and no commit is made"
    assert found["again"]["accuracy"] == found["distill"]["accuracy"]
    sent = Counter(path.partition("/me/")[2] for method, path, _ in hub.requests if method == "PUT")
    attempts = sent.pop("breaks-at-upload")
    assert attempts > 1 and sent == dict.fromkeys(("classifier", "reader", "branched", "breaks-at-commit"), 1)


def test_the_token_is_nowhere(told):
    hub, found, folder, out = told
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert not [name for files in hub.repos.values() for name, content in files.items() if TOKEN.encode() in content]
    assert TOKEN not in out and "hf_wrong" not in out + json.dumps(found)


def test_what_goes_wrong_is_one_sentence(told):
    hub, found, folder, _ = told
    student = folder / "distill/student"
    for case, kind, words in (
        ("wrong token", "PermissionError", "does not know the token (401): set HF_TOKEN to one that may write; "),
        ("you/taken", "PermissionError", "may not write to you/taken (403): name a repository of your own; "),
        ("you/new", "PermissionError", "may not write to you/new (403): name a repository of your own; "),
        ("me/breaks-at-commit", "ConnectionError", "can't be reached, or broke off (RemoteProtocolError); "),
        ("me/breaks-at-upload", "ConnectionError", "can't be reached, or broke off (RemoteProtocolError); "),
    ):
        name, sentence = found[case]
        assert name == kind and words in sentence and "\n" not in sentence, found[case]
        repo = "me/denied" if case == "wrong token" else case
        assert sentence.endswith(f"; {student} is whole and can be published later by `blog publish {student} {repo}`")
        assert not hub.repos.get(repo), "a part of a model has arrived"


def test_a_hub_that_is_down_costs_no_training_and_is_told_by_the_status(tmp_path):
    with Hub({TOKEN: "me"}) as gone:
        pass
    done = run(gone.address, WORKER, str(tmp_path / "mine"), "me/later")
    last, student = done.stderr.strip().splitlines()[-1], tmp_path / "mine/student"
    assert done.returncode == 1
    assert last.startswith(
        f"ConnectionError: the hub at {gone.address} can't be reached, or broke off (ConnectError); "
    )
    check_folder(student)
    assert not list((tmp_path / "mine").glob("checkpoint-*")) and TOKEN not in done.stderr + done.stdout
    with Hub({TOKEN: "me"}) as hub:
        later = run(hub.address, "-m", "blog.cli", "publish", str(student), "me/later")
        assert (later.returncode, later.stderr) == (0, ""), later.stderr
        assert later.stdout.startswith(f"{hub.address}/me/later/commit/")
        assert hub.repos["me/later"]["model.safetensors"] == (student / "model.safetensors").read_bytes()
        hub.tokens.clear()
        denied = run(hub.address, "-m", "blog.cli", "publish", str(student), "me/later")
        assert denied.returncode == 1 and denied.stderr.count("\n") == 1 and "(401)" in denied.stderr
        wrong = run(hub.address, "-m", "blog.cli", "publish", str(student.parent), "me/later")
        assert wrong.returncode == 2 and "has no manifest.json" in wrong.stderr
