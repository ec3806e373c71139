"""Every masked language model class of transformers, made tiny: read, trained and cut as the plain way, or refused.

The lists of what is refused are complete: a class that comes or goes, or a new fault, fails here.
"""

import copy
import gc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import transformers as T
from datasets import Dataset
from torch import Tensor
from transformers.utils import logging as transformers_logging

from blog.models.loading import load_model, save_model
from blog.models.memory import gradients_in_place, recompute_activations
from blog.models.readout import input_limits, logits_at
from blog.models.students import keep_layers
from blog.pretraining import WholeWordMasking, pretrain
from blog.teachers.live import LiveTeacher, MemoizedTeacher, mask_logits
from blog.training import content_fingerprint

ENTRIES = 64
SPECIAL = {"pad_token_id": 1, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
SPECIAL |= {"mask_token_id": 4}
SIZES = {
    **{"vocab_size": ENTRIES, "max_position_embeddings": 48, "head_dim": 16},
    **{"hidden_size": 32, "d_model": 32, "dim": 32, "emb_dim": 32, "embedding_size": 16},
    **{"num_hidden_layers": 4, "n_layers": 4, "encoder_layers": 4, "decoder_layers": 4},
    **{"num_attention_heads": 2, "num_key_value_heads": 2, "n_heads": 2, "n_head": 2, "d_head": 16},
    **{"encoder_attention_heads": 2, "decoder_attention_heads": 2},
    **{"intermediate_size": 48, "hidden_dim": 48, "d_inner": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
}
TEXT = {name: SIZES[name] for name in ("vocab_size", "max_position_embeddings", "hidden_size", "num_hidden_layers")}
TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48} | SPECIAL
VISION = {"model_type": "siglip_vision_model", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"intermediate_size": 48, "image_size": 16, "patch_size": 4}
OWN = {  # what a class needs beside the sizes that many share
    "ConvBertForMaskedLM": {"head_ratio": 1},
    "EsmForMaskedLM": {"position_embedding_type": "absolute"},
    "FunnelForMaskedLM": {"block_sizes": [2, 2], "block_repeats": [1, 1]},
    "LongformerForMaskedLM": {"attention_window": [4, 4, 8, 8]},
    "LukeForMaskedLM": {"entity_vocab_size": 10, "entity_emb_size": 16},
    "MobileBertForMaskedLM": {"intra_bottleneck_size": 16},
    "ModernVBertForMaskedLM": {"text_config": TEXT | {"model_type": "modernbert"}, "vision_config": VISION},
    "MvpForConditionalGeneration": {"prompt_length": 4, "prompt_mid_dim": 8},
    "NeoMMEForMaskedLM": {"embedding_rank": 16},
    "PerceiverForMaskedLM": {"num_latents": 8, "d_latents": 16, "num_self_attends_per_block": 2}
    | {"num_self_attention_heads": 2, "num_cross_attention_heads": 2},
    "ReformerForMaskedLM": {"attn_layers": ["local", "lsh"] * 2, "attention_head_size": 16, "feed_forward_size": 48}
    | {"local_attn_chunk_length": 4, "lsh_attn_chunk_length": 4, "axial_pos_embds": False, "is_decoder": False}
    | {"hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0, "hash_seed": 0, "num_buckets": 2},
    "RemBertForMaskedLM": {"input_embedding_size": 16, "output_embedding_size": 48},
    "RoCBertForMaskedLM": {"pronunciation_vocab_size": 10, "pronunciation_embed_dim": 8}
    | {"shape_vocab_size": 10, "shape_embed_dim": 8},
    "SqueezeBertForMaskedLM": {"embedding_size": 32},
    "UltrabertForMaskedLM": {"prediction_head_size": 16},
    "UltraVBertForMaskedLM": {
        "text_config": TEXT | {"model_type": "ultrabert", "prediction_head_size": 16},
        "vision_config": VISION | {"vision_use_head": False},
    },
    "XmodForMaskedLM": {"languages": ["en_XX"], "default_language": "en_XX"},
}
BEYOND = {  # other builds of the same classes
    "BERT, eager": ("BertForMaskedLM", {"attn_implementation": "eager"}),
    "BERT, feed-forward in chunks": ("BertForMaskedLM", {"chunk_size_feed_forward": 1}),
    "BERT, two matrices": ("BertForMaskedLM", {"tie_word_embeddings": False}),
    "BERT, as many entries as numbers": ("BertForMaskedLM", {"vocab_size": 60, "hidden_size": 60}),
    "BigBird, sparse": ("BigBirdForMaskedLM", {"attention_type": "block_sparse", "block_size": 1}),
    "DeBERTa, its own head": ("DebertaForMaskedLM", {"legacy": False, "relative_attention": True}),
    "DeBERTa-v2, its own head": ("DebertaV2ForMaskedLM", {"legacy": False, "pos_att_type": ["c2p", "p2c"]}),
    "DeBERTa-v2, square head": (
        "DebertaV2ForMaskedLM",
        {"legacy": False, "vocab_size": 60, "hidden_size": 60},
    ),
    "ESM, rotary": ("EsmForMaskedLM", {"position_embedding_type": "rotary", "token_dropout": True}),
    "EuroBERT, one matrix": ("EuroBertForMaskedLM", {"tie_word_embeddings": True}),
    "ModernBERT, no bias": ("ModernBertForMaskedLM", {"decoder_bias": False, "attn_implementation": "eager"}),
    "ModernBERT, near": ("ModernBertForMaskedLM", {"local_attention": 4}),
    "ModernBERT, alike": ("ModernBertForMaskedLM", {"global_attn_every_n_layers": 1}),
    "RoBERTa, eager": ("RobertaForMaskedLM", {"attn_implementation": "eager"}),
    "RoBERTa, padding first": ("RobertaForMaskedLM", {"pad_token_id": 0}),
}
CONFIGS = {model.__name__: config for config, model in T.MODEL_FOR_MASKED_LM_MAPPING.items()}
CASES = {name: (name, {}) for name in CONFIGS} | BEYOND  # each of them can be made tiny
NO_HEAD = {"PerceiverForMaskedLM"}
OTHER_HEADS = {  # logits that are no product of the matrix that the class names: a bias beside it, or another matrix
    *("BartForConditionalGeneration", "MBartForConditionalGeneration", "MvpForConditionalGeneration"),
    *("EsmForMaskedLM", "ESM, rotary", "MobileBertForMaskedLM"),
    *("DeBERTa, its own head", "DeBERTa-v2, its own head", "DeBERTa-v2, square head"),
}
NOT_APART = {  # texts of one block see each other, or count places across them
    *("BartForConditionalGeneration", "MBartForConditionalGeneration", "MvpForConditionalGeneration"),
    *("ConvBertForMaskedLM", "FNetForMaskedLM", "FunnelForMaskedLM", "LongformerForMaskedLM", "ReformerForMaskedLM"),
    *("DebertaForMaskedLM", "DebertaV2ForMaskedLM", "EsmForMaskedLM", "LayoutLMForMaskedLM", "RoFormerForMaskedLM"),
    *("MobileBertForMaskedLM", "MraForMaskedLM", "NystromformerForMaskedLM", "YosoForMaskedLM"),
    *("FlaubertWithLMHeadModel", "XLMWithLMHeadModel", "PerceiverForMaskedLM"),
    *("DeBERTa, its own head", "DeBERTa-v2, its own head", "DeBERTa-v2, square head", "ESM, rotary"),
    "BigBird, sparse",
}
NOT_CUT = {  # layers that are shared, listed in parts or twice, or depend on how many there are
    *("AlbertForMaskedLM", "FunnelForMaskedLM", "PerceiverForMaskedLM"),
    *("FlaubertWithLMHeadModel", "XLMWithLMHeadModel"),
    *("BartForConditionalGeneration", "MBartForConditionalGeneration", "MvpForConditionalGeneration"),
    *("EsmForMaskedLM", "ESM, rotary", "EsmcForMaskedLM", "NeoMMEForMaskedLM"),
    *("ModernVBertForMaskedLM", "UltraVBertForMaskedLM"),
}
PICTURES = {"BridgeTowerForMaskedLM", "ViltForMaskedLM"}  # of no use without one, and AutoModelForMaskedLM has neither
ROWS, FIRST = torch.arange(3), torch.tensor([2, 1, 4])
SPANS = torch.stack([FIRST, torch.tensor([3, 2, 1])], dim=1)


def build(name: str) -> T.PreTrainedModel:
    "A tiny model whose weights are all other than where they start, so that no bias is zero."
    kind, own = CASES[name]
    own = {**OWN.get(kind, {}), **own}
    default = {} if "text_config" in own else CONFIGS[kind]()
    known = set(default and default.to_dict()) | set(default and default.attribute_map)
    config = CONFIGS[kind](**{key: value for key, value in {**SIZES, **SPECIAL}.items() if key in known} | own)
    torch.manual_seed(0)
    model = T.AutoModelForMaskedLM.from_config(config)
    assert type(model).__name__ == kind
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        for key in (key for key, _ in model.named_buffers() if "bias" in key):  # BART has one
            model.get_buffer(key).normal_()
    return model.eval()


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    gc.freeze()  # all that transformers has; each training collects garbage once
    yield
    gc.unfreeze()
    transformers_logging.set_verbosity(verbosity)
    transformers_logging.enable_progress_bar()


@pytest.fixture(scope="module", params=CASES)
def case(request) -> tuple[str, T.PreTrainedModel]:
    return request.param, build(request.param)


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    ids = torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    ids[1, 9:], mask[1, 9:] = 1, 0
    return {"input_ids": ids, "attention_mask": mask}


def plain(logits: Tensor, pooling: str, spans: Tensor = SPANS) -> Tensor:
    spans = [row[start : start + length] for row, (start, length) in zip(logits, spans.tolist(), strict=True)]
    return torch.stack([span[0] if pooling == "first" else span.mean(0) for span in spans])


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max() + 1), rtol=1e-4)


def refused(wanted: bool, does: Callable, what: str):
    "What a call gives, or None where it is refused, as it should be, in one sentence that names the class."
    if not wanted:
        return does()
    with pytest.raises(ValueError, match=what) as error:
        does()
    assert "\n" not in str(error.value)
    return None


def test_lists_are_of_classes_that_there_are():
    assert len(CONFIGS) > 45
    assert CASES.keys() >= NO_HEAD | OTHER_HEADS | NOT_APART | NOT_CUT
    assert {name for name in dir(T) if name.endswith("ForMaskedLM") and not name.startswith("Auto")} <= set(
        CONFIGS
    ) | PICTURES


def picture_model(name: str) -> T.PreTrainedModel:
    torch.manual_seed(0)
    text = {
        key: TEXT[key] for key in ("vocab_size", "max_position_embeddings", "num_hidden_layers", "intermediate_size")
    }
    sizes = {"hidden_size": 64, "num_attention_heads": 2}  # a head of BridgeTower's pictures is 64 wide
    if name == "ViltForMaskedLM":
        return T.ViltForMaskedLM(T.ViltConfig(**text, **sizes, image_size=16, patch_size=4)).eval()
    vision = {"hidden_size": 64, "num_hidden_layers": 4, "image_size": 16, "patch_size": 4}
    config = T.BridgeTowerConfig(**sizes, num_hidden_layers=2, text_config=text | sizes, vision_config=vision)
    return T.BridgeTowerForMaskedLM(config).eval()


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_models_that_need_a_picture(name, inputs, tmp_path):
    model = picture_model(name)
    picture = {"pixel_values": torch.randn(3, 3, 16, 16), "pixel_mask": torch.ones(3, 16, 16, dtype=torch.long)}
    spans = torch.tensor([[1, 2], [2, 7], [0, 10]])
    with torch.no_grad():
        logits = model(**inputs, **picture).logits
        for pooling in ("first", "mean"):
            same(logits_at(model, inputs | picture, spans, pooling), plain(logits, pooling, spans))
    refused(True, lambda: keep_layers(model, [0, 1]), f"the layers of {name}")
    refused(True, lambda: loaded(model, tmp_path), "can't be loaded by AutoModelForMaskedLM")


def test_wanted_logits(case, inputs):
    name, model = case
    with torch.no_grad():
        logits = model(**inputs).logits
        for pooling in ("first", "mean"):
            ours = refused(name in NO_HEAD, lambda: logits_at(model, inputs, SPANS, pooling), type(model).__name__)
            if ours is not None:
                same(ours, plain(logits, pooling))


def gradients(model, inputs, pooling: str, ours: bool) -> tuple[dict[str, Tensor | None], Tensor]:
    model.zero_grad()
    model.train(model.config.model_type == "reformer")  # which has no other backward pass; it has no dropout here
    torch.manual_seed(0)
    if ours:
        with gradients_in_place(model), recompute_activations(model):
            logits = logits_at(model, inputs, SPANS, pooling)
    else:
        logits = plain(model(**inputs).logits, pooling)
    logits.square().sum().backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    model.eval()
    return {key: value.grad for key, value in model.named_parameters()}, norm


@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen embedding"])
def test_gradients(case, inputs, frozen):
    name, model = case
    if name in NO_HEAD:
        return
    embedding = model.get_input_embeddings()
    embedding.requires_grad_(not frozen)
    try:
        for pooling in ("first", "mean"):
            (theirs, norm), (ours, other) = (gradients(model, inputs, pooling, way) for way in (False, True))
            assert {key for key in ours if ours[key] is None} == {key for key in theirs if theirs[key] is None}
            same(norm, other)
            for key in (key for key in ours if ours[key] is not None):
                same(ours[key], theirs[key])
    finally:
        embedding.requires_grad_(True)
        model.zero_grad()


def test_teacher(case, inputs):
    name, model = case
    model = copy.deepcopy(model)
    batch = {f"teacher_{key}": value for key, value in inputs.items()}
    batch |= {"teacher_labels": torch.stack([FIRST, torch.ones_like(FIRST)], dim=1)}
    with torch.no_grad():
        logits = plain(model(**inputs).logits, "first")
        wrong, live = name in OTHER_HEADS | NO_HEAD, LiveTeacher(model, mask_logits)
        read = refused(wrong, lambda: live.head_inputs(batch), type(model).__name__)
        if read is not None:
            same(model.get_output_embeddings()(read), logits)
        for teacher in (live, MemoizedTeacher(model)):
            found = refused(name in NO_HEAD, lambda: teacher(batch), type(model).__name__)
            if found is not None:
                same(found.values, logits)


class Noting(WholeWordMasking):
    "Keeps what was masked last; the trainer makes copies of it."

    seen: ClassVar[dict[str, Tensor]]

    def mask(self, blocks, generator):
        Noting.seen = super().mask(blocks, generator)
        return dict(Noting.seen)


def apart(batch: dict[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    "Input and labels of every text of packed blocks."
    for ids, places, labels in zip(batch["input_ids"], batch["position_ids"], batch["labels"], strict=True):
        starts = [*(places == 0).nonzero()[:, 0].tolist(), len(ids)]
        yield from ((ids[None, a:b], labels[a:b]) for a, b in pairwise(starts))


def test_packed_texts(case, tmp_path):
    name, model = case
    words = [f"w{n}" for n in range(5, 60)]
    vocab = {word: n for n, word in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", *words])}
    tokenizer = T.BertTokenizerFast(vocab=vocab)
    texts = Dataset.from_dict({"text": [" ".join(words[n : n + 3 * n]) for n in (2, 3, 5)]})
    quick = {"max_steps": 1, "learning_rate": 0.0, "per_device_eval_batch_size": 9, "save_strategy": "no"}
    args = T.TrainingArguments(tmp_path, **quick, use_cpu=True, report_to=[], disable_tqdm=True)
    run, masking = copy.deepcopy(model), Noting(tokenizer, share=0.5)

    def loss():
        return pretrain(texts, run, tokenizer, args, texts, masking, length=20)["loss"]

    found = refused(name in NOT_APART, loss, f"{type(model).__name__} does not read the texts of a packed block")
    if found is None:
        assert not any(tmp_path.iterdir())  # before any training
        return
    with torch.no_grad():
        losses = [
            torch.nn.functional.cross_entropy(model(input_ids=ids).logits[0], labels, reduction="none")[labels != -100]
            for ids, labels in apart(Noting.seen)
        ]
    assert len(losses) > 2
    assert found == pytest.approx(torch.cat(losses).mean().item(), rel=1e-4)


def test_longest_text(case):
    _, model = case
    longest, _ = input_limits(model)
    if longest < 1000:
        assert torch.isfinite(model(input_ids=torch.full((1, longest), 7)).logits).all()


def loaded(model, folder: Path) -> T.PreTrainedModel:
    return load_model(T.AutoModelForMaskedLM, save_model(folder / "model", model)).eval()


def test_saved_and_loaded(case, inputs, tmp_path):
    name, model = case
    again = loaded(model, tmp_path)
    if name == "FunnelForMaskedLM":  # transformers makes the padding's row zero whenever it loads one
        with torch.no_grad():
            again.get_input_embeddings().weight[1] = model.get_input_embeddings().weight[1]
    assert content_fingerprint(again) == content_fingerprint(model)
    with torch.no_grad():
        same(again(**inputs).logits, model(**inputs).logits)


def test_kept_layers(case, inputs, tmp_path):
    name, model = case
    state = torch.get_rng_state()
    smaller = refused(name in NOT_CUT, lambda: keep_layers(model, [0, 3]), f"the layers of {type(model).__name__}")
    assert torch.equal(torch.get_rng_state(), state)
    if smaller is None:
        return
    with torch.no_grad():
        found = smaller(**inputs).logits
        assert not torch.allclose(found, model(**inputs).logits, atol=1e-3)
        same(loaded(smaller, tmp_path)(**inputs).logits, found)
