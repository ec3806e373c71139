"""`blog memory`: an account from a configuration alone, and one sentence for what can not be counted."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import (
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    RobertaConfig,
    T5Config,
)

from blog.generation.memory import PUBLISHED_CONTEXT

SMALL = dict(vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
CONFIGS = {
    "bert": BertConfig(**SMALL, architectures=["BertForMaskedLM"]),
    "roberta": RobertaConfig(**SMALL, max_position_embeddings=66, architectures=["RobertaForSequenceClassification"]),
    "distilbert": DistilBertConfig(vocab_size=200, dim=32, n_layers=2, n_heads=4, hidden_dim=64),
    "gpt2": GPT2Config(vocab_size=200, n_embd=32, n_layer=2, n_head=4, architectures=["GPT2LMHeadModel"]),
    "llama": LlamaConfig(**SMALL, num_key_value_heads=2, architectures=["LlamaForCausalLM"]),
    "mistral": MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=8, architectures=["MistralForCausalLM"]),
    "mixtral": MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=4, architectures=["MixtralForCausalLM"]),
    "t5": T5Config(architectures=["T5ForConditionalGeneration"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    "Configurations without weights."
    folder = tmp_path_factory.mktemp("memory")
    for name, config in CONFIGS.items():
        config.save_pretrained(folder / name)
    (folder / "damaged").mkdir()
    (folder / "damaged/config.json").write_text("{")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def memory(folder, blog) -> Callable[..., tuple[int, str, str]]:
    def call(model: str, *args: str) -> tuple[int, str, str]:
        return blog("memory", model if "/" in model else folder / model, *args)

    return call


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("bert", "masked"),
        ("roberta", "classification"),
        ("distilbert", "masked"),
        ("gpt2", "causal"),
        ("llama", "causal"),
        ("mistral", "causal"),
        ("mixtral", "causal"),
    ],
)
def test_an_account_without_weights(memory, model, task):
    status, out, _ = memory(model, "--batch", "2", "--length", "16", "--json")
    found = json.loads(out)
    assert (status, found["task"], found["model"].endswith(model)) == (0, task, True)
    assert found["total"] == sum(found["parts"].values()) > 0
    assert found["parts"]["weights"] >= 4 * found["parameters"] and found["trained"] == found["parameters"]
    assert found["parts"]["optimizer"] == 8 * found["parameters"]


def test_the_table_and_the_chart(memory):
    status, out, _ = memory("bert", "--batch", "64", "--length", "64")
    head, *rows = out.splitlines()
    assert status == 0 and head.split() == ["Part", "MiB", "Share"]
    assert rows[0].split()[0] in ("activations", "logits") and "█" * 40 in rows[0]
    sizes = [float(row.split()[1].replace(",", "")) for row in rows[: out.splitlines().index("") - 2]]
    assert sizes == sorted(sizes, reverse=True)
    assert "parameters are trained; the most is there at forward and backward." in out and "64 x 64 tokens" in out


def test_the_largest_batch_and_its_exit_status(memory):
    status, out, _ = memory("llama", "--length", "64", "--gpu", "2GB", "--json")
    rows = json.loads(out)["largest_batch"]
    assert status == 0 and rows > 10 and json.loads(out)["fits"]
    for batch, expected in ((rows, 0), (rows + 1, 1)):
        assert memory("llama", "--length", "64", "--gpu", "2GB", "--batch", str(batch))[0] == expected
    status, out, _ = memory("llama", "--gpu", "1GB")  # less than the process takes
    assert status == 1 and "not even one row of 128 tokens fits." in out
    assert f"less {PUBLISHED_CONTEXT:,} MiB for the process" in out


def test_settings_have_their_effect(memory):
    def total(*args: str, model: str = "llama") -> int:
        return json.loads(memory(model, "--batch", "8", "--length", "64", "--json", *args)[1])["total"]

    plain = total()
    for less in (["--checkpointing"], ["--optimizer", "sgd"], ["--lora", "2"], ["--chunked-logits"], ["--inference"]):
        assert total(*less) < plain, less
    assert total("--attention", "eager") > plain and total("--accumulation", "2") >= plain
    assert total("--precision", "bfloat16") < 0.7 * plain


@pytest.mark.parametrize(
    ("model", "args", "says"),
    [
        ("empty", [], "holds no model"),
        ("./nowhere", [], "holds no model"),
        ("no-such/model", [], "the configuration of no-such/model can't be read"),
        ("damaged", [], "can't be read"),
        ("t5", [], "t5 is an encoder with a decoder"),
        ("bert", ["--length", "513"], "the model has 512 positions: 513 tokens are too long"),
        ("roberta", ["--length", "65"], "the model has 64 positions"),
        ("bert", ["--batch", "0"], "batch is 0: give a whole number from 1"),
        ("bert", ["--accumulation", "-1"], "accumulation is -1"),
        ("bert", ["--optimizer", "lion"], "there is no optimizer 'lion': choose one of adamw"),
        ("bert", ["--gpu", "large"], "'large' is no size of a GPU: give it like 24GB."),
        ("bert", ["--chunked-logits"], "logits in chunks are for training a causal model"),
        ("bert", ["--task", "causal", "--lora", "-1"], "lora_rank is -1"),
        ("bert", ["--batch", "many"], "Invalid value for '--batch'"),
    ],
)
def test_one_sentence_for_what_can_not_be_counted(memory, model, args, says):
    status, out, err = memory(model, *args)
    assert (status, out) == (2, "") and says in err and "Traceback" not in err
