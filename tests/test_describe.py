"""`blog describe` and `blog sentiment`: what they print, and the one sentence for what they can't tell."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)

from blog.data.worlds.opinions import opinion_texts, opinions
from blog.experiment import training_arguments
from blog.pretraining import small_modernbert, train_subword_tokenizer
from blog.prompt_internalization.entities import VERBALIZERS, EntityArguments, encode_entities, train_reader

MALIBU = "I like to drive my Malibu while drinking Malibu; la canción sigue."
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([MALIBU] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = dict(zip(["bos_token", "pad_token", "eos_token", "unk_token", "mask_token"], SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)


def save(kind, folder: Path) -> Path:
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    kind(RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=66, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    return save(RobertaForMaskedLM, tmp_path_factory.mktemp("checkout") / "runs/describing-nouns/t2/student")


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    "A reader of sentiments after two steps, where the command looks for one."
    runs = tmp_path_factory.mktemp("checkout") / "runs/entity-sentiment/embedded/student-of-labels-seed1"
    words = [" ".join(("", *VERBALIZERS))] * 50
    tokenizer = train_subword_tokenizer([*opinion_texts(200), *words], 900, 128)
    rows = encode_entities(opinions(train=30, unlabelled=3, evaluation=3)["train"], tokenizer)
    torch.manual_seed(0)
    args = training_arguments(EntityArguments, runs, max_steps=2)
    return Path(train_reader(small_modernbert(tokenizer, 1, 32, 128, 0.1), tokenizer, rows, args)["student"])


@pytest.fixture
def describe(blog) -> Callable[..., tuple[int, str, str]]:
    def call(*args: str | Path, cwd: Path | None = None, command: str = "describe") -> tuple[int, str, str]:
        return blog(command, *args, cwd=cwd)

    return call


@pytest.fixture
def refused(describe) -> Callable[..., str]:
    def call(*args: str | Path, **options) -> str:
        status, out, err = describe(*args, **options)
        assert (status, out) == (2, ""), err
        assert err.startswith("blog: ") and err.endswith(".\n") and err.count("\n") == 1, err
        return err

    return call


def test_table_of_the_second_mention(describe, student):
    status, out, err = describe(MALIBU, "--noun", "malibu", "--index", "1", "--model", student, "-k", "4")
    assert (status, err) == (0, "")
    first, blank, head, *rows = out.splitlines()
    assert first == "I like to drive my Malibu while drinking [Malibu]; la canción sigue."
    assert (blank, head.split(), len(rows)) == ("", ["Word", "Probability"], 4)
    shares = [float(row.split()[-1]) for row in rows]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) < 1


def test_newest_student_as_json_with_accents(describe, student):
    checkout = student.parents[3]
    (checkout / "nbs").mkdir(exist_ok=True)
    (checkout / "settings.ini").touch()
    status, out, err = describe(MALIBU, "--noun", "canción", "--json", cwd=checkout)
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["text"][found["start"] : found["end"]] == found["noun"] == "canción"
    assert Path(found["model"]) == student
    assert len(found["words"]) == 10 and set(found["words"][0]) == {"word", "probability"}


def test_settings_of_the_student_are_used(describe, refused, student):
    settings = student / "prompt_internalization.json"
    token = tiny_tokenizer().convert_tokens_to_ids("Ġ")
    settings.write_text(json.dumps({"pooling": "mean", "ignore_tokens": [token]}))
    try:
        status, out, err = describe(MALIBU, "--noun", "Malibu", "--json", "-k", "299", "--model", student)
        assert (status, err) == (0, "")
        assert sum(row["probability"] for row in json.loads(out)["words"]) == pytest.approx(1, abs=1e-4)
        message = refused(MALIBU, "--noun", "Malibu", "-k", "300", "--model", student)
        assert "from 1 to the 299 that are not ignored" in message
    finally:
        settings.unlink()


def test_what_the_text_does_contain(refused, student):
    message = refused(MALIBU, "--noun", "Malib", "--model", student)
    assert "'Malib' is not in the text. Did you mean Malibu? Its words are: I, like, to, drive, my, Malibu" in message
    message = refused(MALIBU, "--noun", "Malibu", "--index", "2", "--model", student)
    assert "2 times, at character 19 and 41: the index goes from 0 to 1, not 2" in message


def test_too_far_out(refused, student):
    message = refused("the sea and " * 30 + "Malibu", "--noun", "Malibu", "--model", student)
    assert "'Malibu' ends at token" in message and "reads 64 tokens" in message


def test_a_model_that_is_none(refused, tmp_path):
    assert "holds no model: name a folder" in refused(MALIBU, "--noun", "Malibu", "--model", tmp_path / "nowhere")
    classifier = save(RobertaForSequenceClassification, tmp_path / "classifier")
    assert "is no complete" in refused(MALIBU, "--noun", "Malibu", "--model", classifier)


def test_no_student_yet(refused, tmp_path):
    (tmp_path / "nbs").mkdir()
    (tmp_path / "settings.ini").touch()
    message = refused(MALIBU, "--noun", "Malibu", cwd=tmp_path)
    assert "`make run` trains one, or name a model with --model" in message


def test_every_entity_that_the_reader_knows(describe, reader):
    known = json.loads((reader / "entities.json").read_text())["known"]
    text = f"Love the {known[0]}, hate the {known[1]}; the Zürich café é."
    status, out, err = describe(text, "--model", reader, command="sentiment")
    assert (status, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["Entity", "Sentiment", "Probability"]
    assert [row.split("  ")[0] for row in rows] == known[:2]
    assert all(1 / 3 <= float(row.split()[-1]) <= 1 for row in rows)


def test_a_named_entity_as_json_from_the_newest_reader(describe, reader):
    checkout = reader.parents[4]
    (checkout / "nbs").mkdir()
    (checkout / "settings.ini").touch()
    status, out, err = describe(
        "The café is bad.", "--entity", "cafe\u0301", "--json", command="sentiment", cwd=checkout
    )
    assert (status, err) == (0, "")
    [found] = json.loads(out)["entities"]
    assert (found["entity"], found["start"], found["end"]) == ("café", 4, 8)
    assert found["sentiment"] in found and sum(found[name] for name in VERBALIZERS) == pytest.approx(1, abs=1e-5)


def test_no_entity_and_no_reader(refused, reader, student, tmp_path):
    told = refused("Nothing at all.", "--model", reader, command="sentiment")
    assert "knows no entity of the text" in told and told.endswith(": name one with --entity.\n")
    assert "one text, in quotes; name an entity with --entity soup." in refused("Hot.", "soup", command="sentiment")
    assert "'tea' is not in the text" in refused("No.", "--entity", "tea", "--model", reader, command="sentiment")
    assert "holds no entities.json" in refused("No.", "--model", student, command="sentiment")
    (tmp_path / "nbs").mkdir()
    (tmp_path / "settings.ini").touch()
    assert "`blog run studies/entity_sentiment` trains one" in refused("No.", command="sentiment", cwd=tmp_path)


def test_wrong_usage_is_told_without_a_traceback(describe):
    status, out, err = describe(MALIBU)
    assert (status, out) == (2, "") and "--noun" in err and "Traceback" not in err
    status, out, err = describe(MALIBU, "--noun", "Malibu", "-k", "0")
    assert (status, out) == (2, "") and "-k" in err and "Traceback" not in err


def test_in_a_process_of_its_own(student, tmp_path):
    "A description and a refusal in one: nothing but them is printed, whatever the libraries have to say."
    classifier = save(RobertaForSequenceClassification, tmp_path / "classifier")
    calls = [["blog", "describe", MALIBU, "--noun", "Malibu", "--model", str(m)] for m in (student, classifier)]
    code = f"import sys\nfrom blog.cli.commands import main\nfor sys.argv in {calls}:\n    try:\n        main()\n"
    code += "    except SystemExit as end:\n        status = end.code\nsys.exit(status)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stdout.startswith("I like to drive my [Malibu]") and len(done.stdout.splitlines()) == 3 + 10
    assert done.stderr.startswith("blog: ") and done.stderr.count("\n") == 1, done.stderr
    assert "is no complete" in done.stderr


def test_help_needs_no_torch():
    code = "import sys\nfrom blog.cli.commands import main\nsys.argv = ['blog', 'describe', '--help']\n"
    code += "try:\n    main()\nfinally:\n"
    code += "    print([name for name in ('torch', 'transformers', 'pandas') if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "--noun" in done.stdout and done.stderr == "[]\n"
