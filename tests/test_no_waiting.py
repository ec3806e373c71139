"""No step of a trainer waits for its device.

A number that Python asks of a tensor on a GPU stops the program until all that was queued before is done. No GPU is
needed to see who asks: during a step, whatever would wait raises, and tensors say that they are not the host's.
"""

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import distill_worker
import pytest
import torch
from datasets import Dataset
from internalization_worker import TEXTS, VOCABULARY, examples
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    TrainerCallback,
    TrainingArguments,
)

from blog.distillation.trainer import DistillationArguments, DistillationTrainer
from blog.experiment import training_arguments
from blog.models.students import train_tokenizer
from blog.pretraining import small_modernbert, train_subword_tokenizer
from blog.prompt_internalization.trainer import (
    PromptInternalizationArguments,
    PromptInternalizationTrainer,
    TeacherStudentCollator,
)
from blog.teachers.cache import cache_teacher_logits
from blog.teachers.compression import Compression
from blog.teachers.live import LiveTeacher, mask_logits
from blog.training import RowLossTrainer

ASKING = {"_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "masked_select", "is_nonzero", "equal"}
LEAVING = {"cpu", "numpy", "tolist", "__array__"}


class Waited(AssertionError):
    "Something asked a device for a number."


def asks(name: str, args: tuple, kwargs: dict) -> bool:
    if name == "index":
        return any(index is not None and index.dtype == torch.bool for index in args[1])
    return name in ASKING or (name == "repeat_interleave" and not kwargs.get("output_size"))


class Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if asks(func.overloadpacket.__name__, args, kwargs or {}):
            raise Waited(f"{func}, {asker()}")
        return func(*args, **(kwargs or {}))


class Copies(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in LEAVING:
            raise Waited(f"{func.__name__}, {asker()}")
        return func(*args, **(kwargs or {}))


def asker() -> str:
    frames = [frame for frame in traceback.extract_stack() if "/torch/" not in frame.filename]
    return next(f"{f.filename}:{f.lineno}" for f in reversed(frames) if f.filename != __file__)


@contextmanager
def a_device() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, Operations(), Copies():
        patch.setattr(torch.Tensor, "is_cpu", False)
        yield


class Watched(TrainerCallback):
    "From the third step to the end of the fourth, forward, backward and optimizer run on what says it is a device."

    def __init__(self):
        self.steps, self.within = 0, ExitStack()

    def train(self, trainer):
        with self.within:  # which a step that waited has not left
            trainer.train()
        assert self.steps == 2

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step in (2, 3):
            self.within.enter_context(a_device())

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step in (3, 4):
            self.within.close()
            self.steps += 1


SHORT = dict(max_steps=5, eval_strategy="no", save_strategy="no", load_best_model_at_end=False, logging_steps=1000)


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: float(x[0]),
        lambda x: torch.ones(3).repeat_interleave(torch.ones(3, dtype=torch.int64)),
    ],
)
def test_whatever_would_wait_raises(ask):
    with pytest.raises(Waited), a_device():
        ask(torch.ones(3))


def test_what_stays_on_the_device_does_not():
    with a_device():
        x = torch.ones(3)
        (torch.where(torch.isfinite(x), x, 0).sum() * 2 + x[torch.arange(2)].mean()).clamp(max=1)


def bert(width: int) -> BertForMaskedLM:
    torch.manual_seed(width)
    shape = dict(hidden_size=width, intermediate_size=2 * width, num_hidden_layers=1, num_attention_heads=2)
    return BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, **shape))


@pytest.fixture(scope="module")
def nouns():
    tokenizer = train_subword_tokenizer(TEXTS, VOCABULARY, max_length=64)
    return tokenizer, examples(tokenizer)["train"]


def internalize(folder, nouns, teacher, student=None, **options):
    tokenizer, rows = nouns
    args = training_arguments(PromptInternalizationArguments, folder, per_device_train_batch_size=8, **SHORT, **options)
    watched = Watched()
    trainer = PromptInternalizationTrainer(
        student or bert(16), args, teacher, train_dataset=rows, processing_class=tokenizer, callbacks=[watched]
    )
    watched.train(trainer)


def test_prompt_internalization_waits_for_no_live_teacher(tmp_path, nouns):
    internalize(tmp_path, nouns, LiveTeacher(bert(48), mask_logits))


def test_prompt_internalization_waits_for_no_memoized_teacher(tmp_path, nouns):
    internalize(tmp_path, nouns, bert(48))


def test_prompt_internalization_waits_for_no_cache(tmp_path, nouns):
    tokenizer, rows = nouns
    live = LiveTeacher(bert(48), mask_logits)
    collator = TeacherStudentCollator(tokenizer)
    for number, compression in enumerate(
        (Compression(head=True), Compression(k=20, temperatures=(1.0, 10.0)), Compression())
    ):
        source = cache_teacher_logits(tmp_path / f"logits{number}", live, tokenizer, rows, collator, compression)
        internalize(tmp_path / str(number), nouns, source)


def test_the_mean_over_the_tokens_of_a_noun_waits(tmp_path, nouns):
    with pytest.raises(Waited, match=r"readout\.py"):
        internalize(tmp_path, nouns, bert(48), pooling="mean")


def test_the_last_layer_of_a_modernbert_waits(tmp_path, nouns):
    student = small_modernbert(nouns[0], layers=1, width=32, max_length=64)
    with pytest.raises(Waited, match=r"_unique2.*readout\.py"):
        internalize(tmp_path, nouns, bert(48), student)


def of_family(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    if name == "distilbert":
        shape = dict(dim=16, hidden_dim=32, n_layers=1, n_heads=2)
    narrow = dict(embedding_size=16) if name in ("electra", "albert") else {}
    return AutoModelForMaskedLM.from_config(AutoConfig.for_model(name, vocab_size=VOCABULARY, **shape, **narrow))


@pytest.mark.parametrize(
    "family", ["roberta", "xlm-roberta", "camembert", "distilbert", "electra", "albert", "deberta-v2"]
)
def test_models_of_other_families_wait_for_nothing(tmp_path, nouns, family):
    internalize(tmp_path, nouns, LiveTeacher(of_family(family), mask_logits), of_family(family))


def test_attention_without_sdpa_waits_for_its_mask(tmp_path, nouns):
    with pytest.raises(Waited, match=r"masking_utils\.py"):
        internalize(tmp_path, nouns, bert(48), of_family("mpnet"))


@pytest.fixture(scope="module")
def intents():
    tokenizer = train_tokenizer(distill_worker.TEXTS, 60)
    rows = distill_worker.data(16)["train"]
    encoded = tokenizer(list(rows["text"]))
    return tokenizer, Dataset.from_dict({**encoded, "labels": rows["intent"]})


def distill(folder, intents, teacher, rows):
    args = training_arguments(DistillationArguments, folder, per_device_train_batch_size=8, **SHORT)
    watched, student = Watched(), distill_worker.classifier(1, 1, 0.1)
    more = dict(train_dataset=rows, processing_class=intents[0], callbacks=[watched])
    watched.train(DistillationTrainer(student, args, teacher, **more))


def test_distillation_waits_for_no_teacher(tmp_path, intents):
    distill(tmp_path, intents, distill_worker.classifier(0, 1, 0.1), intents[1])


def test_distillation_waits_for_no_column_of_logits(tmp_path, intents):
    rows = intents[1].add_column("teacher_logits", torch.randn(16, 3).tolist())
    distill(tmp_path, intents, None, rows)


class Burst(RowLossTrainer):
    "The loss of its fourth step is no number."

    def row_losses(self, model, inputs):
        rows, outputs = super().row_losses(model, inputs)
        return rows * (torch.nan if self.state.global_step == 3 else 1), outputs


@pytest.mark.parametrize("saved, last, kept", [(2, 4, "checkpoint-2"), (100, 50, "none yet")])
def test_a_loss_that_is_no_number_is_found_before_anything_is_saved(tmp_path, intents, monkeypatch, saved, last, kept):
    args = training_arguments(TrainingArguments, tmp_path, max_steps=60, save_steps=saved, logging_steps=1000)
    trainer = Burst(distill_worker.classifier(1, 1, 0.1), args, train_dataset=intents[1], processing_class=intents[0])
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    with pytest.raises(FloatingPointError, match=f"at step 4; last good checkpoint: .*{kept}"):
        trainer.train()
    assert trainer.state.global_step == last
    assert len(list(tmp_path.glob("checkpoint-*"))) == (kept != "none yet")
