"""`blog specify`: failure rates by specification on the command line, and the one sentence for what can't be judged."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from blog.pretraining import train_subword_tokenizer
from blog.specifications.suites import read_suite, split_suite, unsplittable

SUITE = """
lists:
  thing: [film, book, café]
specifications:
  - {name: praise, statement: Praise is good., label: positive, templates: ["I like this {thing}.", "A fine {thing}."]}
  - {name: blame, label: negative, templates: ["I hate this {thing}."]}
  - {name: facts, label: neutral, texts: ["It is here."]}
  - {name: loud, check: same, templates: [["My {thing}.", "My {thing}!"]]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    "A suite, and a classifier that says `good` of everything."
    folder = tmp_path_factory.mktemp("specify")
    (folder / "suite.yaml").write_text(SUITE, encoding="utf-8")
    tokenizer = train_subword_tokenizer([SUITE] * 20, 350, 64)
    sizes = {"dim": 8, "hidden_dim": 16, "n_layers": 1, "n_heads": 1, "max_position_embeddings": 32}
    names = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    config = DistilBertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes, **names)
    model = DistilBertForSequenceClassification(config)
    torch.nn.init.zeros_(model.classifier.weight)
    model.classifier.bias.data = torch.tensor([0.0, 1.0])
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder


@pytest.fixture
def specify(folder, blog) -> Callable[..., tuple[int, str, str]]:
    def call(*args: str | Path, suite: str = "suite.yaml", model: str = "model") -> tuple[int, str, str]:
        return blog("specify", folder / suite, "--model", folder / model, *args)

    return call


LABELS = ["--label", "positive=good", "--label", "negative=bad"]


def test_table_with_the_worst_first(specify):
    status, out, err = specify(*LABELS)
    assert (status, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split()[:4] == ["Specification", "Cases", "Fail", "95"]
    assert [row.split()[0] for row in rows[:3]] == ["blame", "praise", "loud"]
    assert "100.0 %" in rows[0] and "I hate this film. → positive" in rows[0] and "  0.0 %" in rows[1]
    assert "3 specifications, 12 cases, 3 fail." in out
    assert "Left out, for the model lacks their label: facts." in out


def test_exit_status_for_continuous_integration(specify):
    status, out, err = specify(*LABELS, "--max-failure-rate", "0.5")
    assert (status, err) == (1, "blog: 1 of 3 failure rates are above 0.5.\n") and "blame" in out
    assert specify(*LABELS, "--max-failure-rate", "1")[0] == 0
    status, out, err = specify(*LABELS, "--max-failure-rate", "1.5")
    assert (status, out) == (2, "") and "Traceback" not in err


def test_json(specify):
    status, out, _ = specify(*LABELS, "--json", "--max-failure-rate", "0.2")
    found = json.loads(out)
    assert (status, found["max_failure_rate"], found["left_out"]) == (1, 0.2, ["facts"])
    worst, praise, loud = found["specifications"]
    assert (worst["specification"], worst["failures"], worst["rate"], worst["labels"]) == ("blame", 3, 1, ["negative"])
    assert worst["failed"][2] == {"text": "I hate this café.", "prediction": "positive"}
    assert 0 < worst["low"] < 1 and worst["high"] == 1
    assert (praise["statement"], praise["templates"], praise["failed"]) == ("Praise is good.", 2, [])
    assert (loud["check"], loud["n"]) == ("same", 3)


@pytest.mark.parametrize(
    ("args", "options", "says"),
    [
        (
            [],
            {},
            "the model's label 'bad' stands for no label of the suite: name one with SUITE=MODEL; the model has bad",
        ),
        (
            ["--label", "good=positive"],
            {},
            "'good=positive' is no pair of labels, SUITE=MODEL: the model has bad, good, ",
        ),
        (LABELS, {"model": "nowhere"}, "holds no model"),
        (LABELS, {"suite": "nowhere.yaml"}, "neither a folder nor the id of a public data set"),
        (LABELS, {"suite": "slot.yaml"}, "has the slot {verb}, which no list fills (there are: none)"),
        (LABELS, {"suite": "mixed.tsv"}, "specification 'a' has the labels 'n' and 'p': give each a specification"),
        (LABELS, {"suite": "unlabelled.tsv"}, "a suite has functionality, test_case, label_gold"),
        (LABELS, {"suite": "empty.tsv"}, "specification 'a' has no label"),
    ],
)
def test_refused_in_one_sentence(specify, folder, args, options, says):
    (folder / "slot.yaml").write_text("specifications: [{name: a, label: p, templates: ['I {verb} it']}]")
    (folder / "mixed.tsv").write_text("specification\ttext\tlabel\na\tx\tp\na\ty\tn\n")
    (folder / "unlabelled.tsv").write_text("specification\ttext\na\tx\n")
    (folder / "empty.tsv").write_text("specification\ttext\tlabel\na\tx\t\n")
    status, out, err = specify(*args, **options)
    assert (status, out) == (2, ""), err
    assert err.startswith("blog: ") and err.endswith(".\n") and err.count("\n") == 1, err
    assert says in err


YAML = "specifications: [{{name: a, label: positive, {}}}]"
READER_FAULTS = {
    "slot.yaml": (YAML.format("texts: ['I {verb} it']"), "text 'I {verb} it' has the slot {verb}, which nothing fills"),
    "brace.yaml": (YAML.format("templates: ['I {v it']"), "template 'I {v it' has a { without its counterpart"),
    "letters.yaml": (YAML.format("texts: abc"), "`texts` of specification 'a' must be a list, such as"),
    "key.yaml": (YAML.format("template: [x]"), "has 'template': there are name, statement, label, check, templates"),
    "top.yaml": (
        "list: {v: [x]}\n" + YAML.format("texts: [x]"),
        "has the key 'list': there are lists and specifications",
    ),
    "name.yaml": ("specifications: [{name: '', label: p, texts: [x]}]", "has no name: give it one"),
    "bool.yaml": ("specifications: [{name: a, label: no, texts: [x]}]", "is False and no text: quote it"),
    "word.yaml": (
        "lists: {v: [yes]}\n" + YAML.format("templates: ['{v}']"),
        "a word of {v} is True and no text: quote it",
    ),
    "twice.yaml": (YAML.format("label: negative, texts: [x]"), "is no YAML (the key 'label' is there twice)"),
    "slot.tsv": ("specification\ttext\tlabel\na\tI {verb} it\tpositive\n", "'I {verb} it' has the slot {verb}, which"),
    "list.tsv": ("specification\ttext\tlabel\n{v}\tx\t\na\tI {verb}\tpositive\n", "no list fills (there are: v)"),
    "fields.csv": ("specification,label,text\na,positive,well, no\n", "rows have more fields than there are names"),
    "row.tsv": ("specification\ttext\tlabel\n\tx\tpositive\n", "a row with an empty name of its specification"),
    "neither.tsv": ("specification\tlabel\na\tpositive\n", "neither a column text nor a column template"),
}


@pytest.mark.parametrize("name", READER_FAULTS)
def test_what_can_not_be_read_as_meant_is_refused(specify, folder, name, monkeypatch, tmp_path):
    written, says = READER_FAULTS[name]
    (folder / name).write_text(written)
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    status, out, err = specify(*LABELS, suite=name)
    assert (status, out) == (2, ""), err
    assert err.startswith("blog: ") and err.endswith(".\n") and err.count("\n") == 1 and says in err, err
    assert not [*tmp_path.iterdir()] and before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_numbers_are_labels_and_texts(specify, folder):
    (folder / "numbers.yaml").write_text("specifications: [{name: 1, label: 0, texts: [12:30, '{{braces}}']}]")
    status, out, err = specify("--label", "0=bad", "--json", suite="numbers.yaml")
    assert (status, err) == (0, "")
    (found,) = json.loads(out)["specifications"]
    assert (found["specification"], found["labels"]) == ("1", ["0"])
    assert [case["text"] for case in found["failed"]] == ["12:30", "{braces}"]


@pytest.mark.skipif("BLOG_DATA_FOLDER" not in os.environ, reason="CheckList's tests of sentiment are on no hub")
def test_checklist_can_be_split():
    suite = read_suite(Path(os.environ["BLOG_DATA_FOLDER"]) / "checklist_sentiment")
    assert (len(suite), unsplittable(suite)) == (32, [])
    for before, after in zip(suite, split_suite(suite, 0.3), strict=True):
        held, both = len(after.heldout), len(after.examples) + len(after.heldout)
        assert (after.name, both) == (before.name, len(before.examples)) and 0.2 < held / both < 0.4
        assert not {*after.examples.template} & {*after.heldout.template}


def test_what_was_not_tested_is_told(specify, folder):
    loud = "{name: loud, check: surer, label: negative, templates: [['Bad {thing}.', 'Bad {thing}!']]}"
    praise = "{name: praise, label: positive, texts: [It is fine.]}"
    (folder / "idle.yaml").write_text(f"lists: {{thing: [film, book]}}\nspecifications: [{loud}, {praise}]")
    status, out, _ = specify(*LABELS, suite="idle.yaml")  # the model says of nothing that it is bad
    assert status == 0 and "1 specification, 1 case, 0 fail." in out
    assert "Not tested, for their check applies to no answer of the model: loud." in out
    assert json.loads(specify(*LABELS, "--json", suite="idle.yaml")[1])["idle"] == ["loud"]
    (folder / "idle.yaml").write_text(f"lists: {{thing: [film, book]}}\nspecifications: [{loud}]")
    status, out, err = specify(*LABELS[2:], "--label", "negative=good", suite="idle.yaml")
    assert (status, out) == (2, "") and "no answer could be wrong" in err


def test_a_suite_of_invariances_alone_needs_no_labels(specify, folder):
    (folder / "same.yaml").write_text(
        "specifications: [{name: inv, check: same, templates: [['My film.', 'My film!']]}]"
    )
    status, out, err = specify("--max-failure-rate", "0", suite="same.yaml")
    assert (status, err) == (0, "") and "1 specification, 1 case, 0 fail." in out


def test_a_broken_model_passes_nothing(specify, folder):
    model = DistilBertForSequenceClassification.from_pretrained(folder / "model")
    model.classifier.bias.data[0] = float("nan")
    model.save_pretrained(folder / "broken")
    train_subword_tokenizer([SUITE] * 20, 350, 64).save_pretrained(folder / "broken")
    status, out, err = specify(*LABELS, "--max-failure-rate", "1", model="broken")
    assert (status, out) == (2, "") and "logits are NaN or infinite for 15 of 15 texts" in err


def test_in_a_process_of_its_own(folder):
    "Nothing but JSON on stdout, whatever the libraries have to say."
    argv = ["blog", "specify", str(folder / "suite.yaml"), "--model", str(folder / "model"), *LABELS, "--json"]
    code = f"import sys\nfrom blog.cli.commands import main\nsys.argv = {argv}\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout)["specifications"]


def test_help_needs_no_torch():
    code = "import sys\nfrom blog.cli.commands import main\nsys.argv = ['blog', 'specify', '--help']\n"
    code += "try:\n    main()\nfinally:\n"
    code += "    print([name for name in ('torch', 'transformers', 'pandas') if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "--label" in done.stdout and done.stderr == "[]\n"
