"""`blog export`: a folder that runs without the model's class, and one sentence for what can not be exported."""

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel, DistilBertConfig, DistilBertForSequenceClassification

from blog.evaluation.formats import load_exported
from blog.models.export import export_onnx, graph_inputs, load_onnx, quantize_onnx
from blog.models.loading import save_model
from blog.models.students import BiLSTMClassifier, FastTextClassifier, TextCNN, new_student, train_tokenizer

LABELS = ["balance", "transfer", "freeze"]
TEXTS = ["check my balance", "transfer money please", "freeze the card", "qué tal, señor", "", "check"]
TOKENIZER = train_tokenizer(TEXTS, max_length=16)
SIZES = dict(vocab_size=len(TOKENIZER), hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
SIZES |= dict(intermediate_size=64, max_position_embeddings=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    "A classifier, an encoder without a head, and files of texts."
    folder, names = tmp_path_factory.mktemp("export"), dict(enumerate(LABELS))
    torch.manual_seed(0)
    sizes = dict(vocab_size=len(TOKENIZER), dim=32, n_layers=1, n_heads=2, hidden_dim=64, max_position_embeddings=16)
    config = DistilBertConfig(**sizes, id2label=names, label2id={name: i for i, name in names.items()})
    save_model(folder / "student", DistilBertForSequenceClassification(config), TOKENIZER)
    save_model(folder / "encoder", BertModel(BertConfig(**SIZES)), TOKENIZER)
    (folder / "texts.tsv").write_text("check my balance\tbalance\nfreeze the card\tfreeze\n", encoding="utf-8")
    (folder / "plain.txt").write_text("check my balance\nqué tal\n", encoding="utf-8")
    (folder / "wrong.tsv").write_text("check my balance\tweather\n", encoding="utf-8")
    (folder / "full").mkdir()
    (folder / "full/note.txt").write_text("mine")
    return folder


@pytest.fixture
def export(folder, blog) -> Callable[..., tuple[int, str, str]]:
    def call(model: str, *args: str) -> tuple[int, str, str]:
        return blog("export", model, *args, cwd=folder)

    return call


def test_a_folder_that_answers_and_a_card_that_says_what_was_measured(export, folder):
    status, out, _ = export("student", "--texts", "texts.tsv", "--int8", "--calibrate", "plain.txt", "--json")
    found, made = json.loads(out), folder / "student-onnx-int8"
    assert (status, found["folder"], found["precision"]) == (0, "student-onnx-int8", "int8")
    assert found["bytes"] == (made / "model.onnx").stat().st_size and 0 < found["gap"]["agree"] <= 1
    card = (made / "README.md").read_text(encoding="utf-8")
    assert f"{found['bytes'] / 1e6:.2f} MB" in card and f"Accuracy on them: {found['accuracy']['exported']:.4f}" in card
    assert str(folder) not in card and b"site-packages" not in (made / "model.onnx").read_bytes()
    exported = load_exported(made)
    assert exported.labels == LABELS and set(exported.predict(TEXTS)) <= set(LABELS)
    (made / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"model\.onnx is damaged"):
        load_exported(made)


def test_fixed_shapes_and_the_table(export, folder):
    status, out, _ = export("student", "--fixed", "2x8", "--to", "fixed")
    assert status == 0 and out.splitlines()[0].split() == ["Rows", "Tokens", "ms", "of", "PyTorch's"]
    assert "Written to fixed, with a card." in out and "100.00% of the best labels are the same" in out
    exported = load_exported(folder / "fixed")
    assert exported.compiled.fixed == (2, 8) and len(exported.predict(TEXTS)) == len(TEXTS)


@pytest.mark.parametrize(
    ("model", "args", "says"),
    [
        ("./nothing", [], "./nothing holds no model"),
        ("no/such-model", [], "no/such-model"),
        ("encoder", [], "is no complete BertForSequenceClassification: it lacks 2 weights"),
        ("student", ["--to", "full"], "full is there already: name another folder, or remove it."),
        ("student", ["--to", "texts.tsv"], "texts.tsv is there already"),
        ("student", ["--format", "tflite"], "there is no format 'tflite': choose onnx or openvino."),
        ("student", ["--fixed", "32"], "'32' is no shape: give it as BATCHxLENGTH, like 1x32."),
        ("student", ["--fixed", "1x17"], "at most 16 tokens long, not 1x17."),
        ("student", ["--fixed", "0x8"], "a fixed shape is at least 1x1"),
        ("student", ["--texts", "none.tsv"], "none.tsv can't be read: No such file or directory."),
        ("student", ["--texts", "wrong.tsv"], "the model has no label 'weather', only balance, transfer, freeze"),
        ("student", ["--calibrate", "plain.txt"], "texts to calibrate by are for int8"),
    ],
)
def test_one_sentence_and_nothing_written(export, folder, model, args, says):
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    status, out, err = export(model, *args)
    last = err.splitlines()[-1]
    assert (status, out) == (2, "") and last.startswith("blog: ") and says in last and "Traceback" not in err
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize(
    ("library", "extra", "form"), [("onnxscript", "export", "onnx"), ("openvino", "openvino", "openvino")]
)
def test_a_library_that_is_missing_is_named_with_its_extra(export, monkeypatch, library, extra, form):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr("blog.evaluation.formats.find_spec", lambda name: None if name == library else find_spec(name))
    status, _, err = export("student", "--format", form, "--to", "missing")
    assert status == 2 and f'{library} is not installed: pip install -e ".[{extra}]" in the checkout.' in err


@pytest.mark.skipif(find_spec("openvino") is None, reason='OpenVINO is not installed: pip install -e ".[openvino]"')
@pytest.mark.parametrize("args", [[], ["--int8"]])
def test_openvino(export, folder, args):
    status, _, err = export("student", "--format", "openvino", "--to", f"vino{len(args)}", *args)
    assert status == 0, err
    assert set(load_exported(folder / f"vino{len(args)}").predict(TEXTS)) <= set(LABELS)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (TextCNN, dict(filter_counts=[4, 4, 4])),
        (FastTextClassifier, dict()),
        (FastTextClassifier, dict(ngrams=3, buckets=50)),
        (BiLSTMClassifier, dict(hidden_size=8, relu_size=8)),
    ],
)
def test_small_students_say_the_same_at_any_length(kind, sizes, tmp_path):
    student = new_student(kind, TOKENIZER, LABELS, **sizes).eval()
    student.output.weight.data.normal_()
    path = export_onnx(student, TOKENIZER, tmp_path / "model.onnx")
    for texts in (TEXTS, TEXTS[-1:], TEXTS[4:5], TEXTS[:2]):
        batch = TOKENIZER(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            expected = student(batch["input_ids"], batch["attention_mask"]).logits
        arrays = {name: batch[name].numpy() for name in graph_inputs(student, TOKENIZER)}
        np.testing.assert_allclose(load_onnx(path)(arrays), expected, atol=1e-5)
    assert quantize_onnx(path, tmp_path / "int8.onnx").exists()


def test_a_student_with_logits_at_every_token(tmp_path):
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(**SIZES)).eval()
    batch = TOKENIZER(TEXTS[:3], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**batch).logits
    arrays = {name: array.numpy() for name, array in batch.items()}
    found = load_onnx(export_onnx(model, TOKENIZER, tmp_path / "model.onnx", fixed=(2, 12)))(arrays)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)  # also where another row's text ends
