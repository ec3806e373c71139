"""A distillation step of a small classifier beside other libraries', on the same batch: a live teacher, and none.

Student and teacher are BERTs of 3 and 6 layers, 384 wide, with 150 labels and random weights, no dropout; 32 texts of
24 tokens. The loss is half cross-entropy, half KL(teacher || student), at temperature 1, where all of them mean the
same; the learning rate is 0. What is compared are the norms of all gradients. The reference is the way that tutorials
have: a `Trainer` with a `compute_loss` of its own. Of TextBrewer its `GeneralDistiller` takes the step, of txtai its
trainer; torchdistill's `KDLoss` is in a plain loop, since its own is started by a configuration file. Whichever of them
is not installed is left out, and a line says so; `pip install --no-deps --target FOLDER -r benchmarks/peers.txt`, and
FOLDER in PYTHONPATH, leaves the environment as it is.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from shutil import which

import torch
import torch.nn.functional as F
from datasets import Dataset
from harness import Case, log_norms
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from blog.distillation.trainer import DistillationArguments, DistillationTrainer

ROWS, TOKENS, LABELS, VOCABULARY = 32, 24, 150, 30_522
PLAIN = "a Trainer with its own compute_loss"


def classifier(layers: int, seed: int) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    still = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0)
    shape = dict(hidden_size=384, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=1536)
    return BertForSequenceClassification(BertConfig(vocab_size=VOCABULARY, num_labels=LABELS, **shape, **still))


def batch_of() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(5, VOCABULARY, (ROWS, TOKENS), generator=draw)
    labels = torch.randint(LABELS, (ROWS,), generator=draw)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


class PlainTrainer(Trainer):
    def __init__(self, *args, teacher: nn.Module, **kwargs):
        super().__init__(*args, **kwargs)
        self.teacher = teacher

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        with torch.no_grad():
            wanted = self.teacher(**inputs).logits
        log_q, p = F.log_softmax(outputs.logits, dim=-1), F.softmax(wanted, dim=-1)
        loss = 0.5 * outputs.loss + 0.5 * F.kl_div(log_q, p, reduction="batchmean")
        return (loss, outputs) if return_outputs else loss


def by_trainer(trainer: Trainer, batch: dict[str, Tensor]) -> Callable[[], None]:
    return lambda: trainer.training_step(trainer.model, dict(batch), torch.tensor(ROWS)) and None


def by_textbrewer(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor]) -> Callable[[], None]:
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

    def adapted(batch, outputs):
        return {"logits": outputs.logits, "losses": outputs.loss}

    train = TrainingConfig(device="cpu", output_dir=tempfile.mkdtemp())
    halves = DistillationConfig(temperature=1, kd_loss_weight=0.5, hard_label_weight=0.5)
    distiller = GeneralDistiller(train, halves, teacher, student, adapted, adapted)
    return lambda: distiller.train_on_batch(batch, {})[0].backward()


def by_torchdistill(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor]) -> Callable[[], None]:
    from torchdistill.losses.mid_level import KDLoss

    loss = KDLoss("head", "output", "head", "output", temperature=1, alpha=0.5)

    def step() -> None:
        with torch.no_grad():
            theirs = teacher(**batch).logits
        ours = student(**batch).logits
        loss({"head": {"output": ours}}, {"head": {"output": theirs}}, batch["labels"]).backward()

    return step


def by_txtai(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor]) -> Callable[[], None]:
    from txtai.pipeline.train.hftrainer import DistillationTrainer as TheirTrainer

    args = TrainingArguments(tempfile.mkdtemp(), use_cpu=True, report_to=[])
    return by_trainer(TheirTrainer(student, args, teacher=teacher, distillation=(1.0, 0.5)), batch)


PEERS = {"textbrewer": by_textbrewer, "torchdistill": by_torchdistill, "txtai": by_txtai}


def cases() -> Iterator[Case]:
    teacher, start, batch = classifier(6, 0).eval().requires_grad_(False), classifier(3, 1).train(), batch_of()
    rows = Dataset.from_dict({name: column.tolist() for name, column in batch.items()})
    halves = dict(alpha=0.5, temperature=1.0, use_cpu=True, report_to=[], eval_strategy="no", save_strategy="no")
    args = DistillationArguments(tempfile.mkdtemp(), load_best_model_at_end=False, **halves)
    plain = TrainingArguments(tempfile.mkdtemp(), use_cpu=True, report_to=[])
    with torch.no_grad():
        answered = batch | {"teacher_logits": teacher(**batch).logits}

    def student() -> nn.Module:
        return copy.deepcopy(start)

    def ours(teacher: nn.Module | None, rows: Dataset) -> Trainer:
        return DistillationTrainer(student(), args, teacher, train_dataset=rows, processing_class=object())

    taken = {PLAIN: PlainTrainer(student(), plain, teacher=teacher)}
    steps = {name: (trainer.model, by_trainer(trainer, batch)) for name, trainer in taken.items()}
    for name, make in PEERS.items():
        if find_spec(name):
            model = student()
            steps[name] = model, make(model, teacher, batch)
        else:
            print(f"peers: without {name}, which is not installed (benchmarks/peers.txt)", flush=True)
    trainer = ours(teacher, rows)
    steps["ours"] = trainer.model, by_trainer(trainer, batch)
    kept = ours(None, rows.add_column("teacher_logits", answered["teacher_logits"].tolist()))
    steps["ours, answers kept"] = kept.model, by_trainer(kept, answered)
    ways = {name: whole(*both) for name, both in steps.items()}
    yield Case("step of distillation beside peers", ways, 1e-3, "step")
    if which("g++"):  # inductor writes C++
        twin = ours(None, kept.train_dataset)
        model = torch.compile(twin.model)
        compiled = lambda: twin.training_step(model, dict(answered), torch.tensor(ROWS)) and None
        ways = {"ours, answers kept": ways["ours, answers kept"], "the student compiled": whole(twin.model, compiled)}
        yield Case("step of distillation with torch.compile", ways, 1e-3, "step")


def whole(student: nn.Module, step: Callable[[], None]) -> Callable[[], Tensor]:
    "Gradients and the optimizer; logarithms of the norms of all gradients."
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.0, fused=True)

    def run() -> Tensor:
        student.zero_grad(set_to_none=False)
        step()
        optimizer.step()
        return log_norms(student, torch.ones(0))

    return run
