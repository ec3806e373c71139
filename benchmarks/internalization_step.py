"""A training step of prompt internalization: the published way against ours, in one run.

    python benchmarks/internalization_step.py [--shape roberta-base|multilingual] [--epochs 4] [--csv FILE]
    python benchmarks/internalization_step.py memory [--csv benchmarks/internalization_memory.csv]

The reference does what the published code did: one noun a row, teacher and student score their whole vocabulary at
every position, one position a row is kept, and the optimizer is the Trainer's default. Ours is
`PromptInternalizationTrainer`, which reads a sentence once for all of its nouns, and whose teacher is memoized. The
nouns are those of one epoch: 32 questions, each put by an English and by a Spanish sentence, in four batches of 16;
student 24 tokens, teacher 32; random weights, no dropout. Sentences have 1, 2, 3 and 4 nouns by turns, 2.5 on average,
as in Tatoeba those of 17 to 24 words (2.6; all of them 1.5), and are shuffled. Ours is timed in a first epoch, which
asks each question once, in later ones, which ask nothing, and where every question is new, as if there were one
language. Losses and gradients of the epoch are compared first. Epochs take turns, so that a machine that slows down
slows all; what counts is the ratio of nouns a second. Memory is the peak of a step whose questions are new over what
the process held before it (models, gradients and optimizer), measured in a process of its own; `memory` measures it for
all shapes, with and without `blog.models.memory`.
"""

import argparse
import ctypes
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from raw import write_csv
from torch import Tensor, nn
from transformers import RobertaConfig, RobertaForMaskedLM, XLMRobertaConfig, XLMRobertaForMaskedLM

import blog.prompt_internalization.trainer
from blog.prompt_internalization.trainer import PromptInternalizationArguments, PromptInternalizationTrainer

NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=514)
SHAPES = {
    "roberta-base": lambda: RobertaForMaskedLM(RobertaConfig(vocab_size=50_265, **NO_DROPOUT)),
    "multilingual": lambda: XLMRobertaForMaskedLM(
        XLMRobertaConfig(
            vocab_size=250_002,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
            **NO_DROPOUT,
        )
    ),
    "tiny": lambda: RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=500,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            **NO_DROPOUT,
        )
    ),
}
WAYS = ("published", "ours, new questions", "ours, first epoch", "ours, later epochs")
PLAIN = "ours, plain gradients"  # without `blog.models.memory`
TEMPERATURE, ROWS, BATCHES = 10.0, 16, 4


def models(shape: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    teacher = SHAPES[shape]().eval().requires_grad_(False)
    return teacher, SHAPES[shape]().train()


def batches_of(vocabulary: int) -> list[dict[str, Tensor]]:
    "An epoch in which each question comes twice, by two texts, and the nouns of a text together."
    generator = torch.Generator().manual_seed(1)
    rows = ROWS * BATCHES
    questions = torch.randint(5, vocabulary, (rows // 2, 32), generator=generator)
    sentence = torch.tensor([n for n, count in enumerate([1, 2, 3, 4] * rows) for _ in range(count)][: rows // 2])
    text = torch.cat([sentence, sentence + sentence.max() + 1])  # English, and Spanish
    order = torch.randperm(int(text.max()) + 1, generator=generator)[text].argsort(stable=True)
    texts = torch.randint(5, vocabulary, (int(text.max()) + 1, 24), generator=generator)
    starts, ones = torch.randint(1, 20, (rows,), generator=generator), torch.ones(ROWS, dtype=torch.long)
    batches = []
    for some in order.split(ROWS):
        own, text_of = text[some].unique(return_inverse=True)
        batches.append(
            {
                "labels": torch.stack([starts[some], ones], dim=-1),
                "teacher_labels": torch.stack([30 * ones, ones], dim=-1),
                "text_of": text_of,
                "teacher_input_ids": questions.repeat(2, 1)[some],
                "teacher_attention_mask": torch.ones(ROWS, 32, dtype=torch.long),
                "input_ids": texts[own],
                "attention_mask": torch.ones(len(own), 24, dtype=torch.long),
            }
        )
    return batches


def published_loss(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    "Every logit of both models, one noun a row, then one position a row."
    texts = batch["text_of"]
    ours = student(input_ids=batch["input_ids"][texts], attention_mask=batch["attention_mask"][texts]).logits
    with torch.no_grad():
        theirs = teacher(input_ids=batch["teacher_input_ids"], attention_mask=batch["teacher_attention_mask"]).logits
    rows = torch.arange(ROWS)
    ours, theirs = ours[rows, batch["labels"][:, 0]], theirs[rows, batch["teacher_labels"][:, 0]]
    log_q, log_p = (F.log_softmax(logits.float() / TEMPERATURE, dim=-1) for logits in (ours, theirs))
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * TEMPERATURE**2


def stepper(way: str, teacher: nn.Module, student: nn.Module):
    "Forward and backward of a batch, which returns the loss; the optimizer; and the trainer, of our ways."
    if way == "published":
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)

        def training_step(batch):
            loss = published_loss(student, teacher, batch)
            loss.backward()
            return loss.item()

        return training_step, optimizer, None
    args = PromptInternalizationArguments(
        tempfile.mkdtemp(), temperature=TEMPERATURE, eval_strategy="no", load_best_model_at_end=False, use_cpu=True
    )
    trainer = PromptInternalizationTrainer(
        student, args, teacher=teacher, processing_class=object(), data_collator=list
    )
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4, fused=True)
    rows = torch.tensor(ROWS)

    def training_step(batch):
        if way == "ours, new questions":
            trainer.teacher.known.clear()
        return trainer.training_step(student, dict(batch), rows).item()

    return training_step, optimizer, trainer


def held(field: str) -> int:
    "VmRSS or VmHWM of this process in bytes."
    status = Path("/proc/self/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) * 1024


def peak(way: str, shape: str) -> int:
    "Bytes that a step takes over what models, gradients and optimizer hold: the median of three, after a first one."
    if way == PLAIN:
        blog.prompt_internalization.trainer.gradients_in_place = lambda model: nullcontext()
        blog.prompt_internalization.trainer.recompute_activations = lambda model: nullcontext()
        way = WAYS[1]
    teacher, student = models(shape)
    training_step, optimizer, _ = stepper(way, teacher, student)
    batch = batches_of(student.config.vocab_size)[0]
    for parameter in student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    training_step(batch)  # loads what is loaded once
    taken = []
    for _ in range(3):
        ctypes.CDLL(None).malloc_trim(0)  # what earlier steps have freed
        Path("/proc/self/clear_refs").write_text("5")
        before = held("VmRSS")
        training_step(batch)
        taken.append(held("VmHWM") - before)
    return statistics.median(taken)


def peak_apart(way: str, shape: str) -> int:
    "`peak` in a process of its own."
    command = [sys.executable, __file__, "--shape", shape, "--peak", way]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def memory(csv: str | None) -> None:
    "Peak memory of a step in MiB for each shape, and how many times less it is than published."
    ways, shapes = (WAYS[0], PLAIN, WAYS[1]), ("roberta-base", "multilingual")
    table = {way: [peak_apart(way, shape) / 2**20 for shape in shapes] for way in ways}
    print(f"{'peak memory of a step, MiB':24} " + " ".join(f"{shape:>20}" for shape in shapes))
    for way, peaks in table.items():
        less = [f"{one:12.0f} {whole / one:6.2f}x" for one, whole in zip(peaks, table[WAYS[0]], strict=True)]
        print(f"{way:24} " + " ".join(less))
    write_csv(csv, {"shape": shapes} | table)


def compare(ways: dict[str, tuple], student: nn.Module, epoch: list[dict[str, Tensor]]) -> None:
    "Print how far losses and gradients of an epoch are from those of the published way."
    losses, gradients = {}, {}
    for way, (training_step, _, _) in ways.items():
        losses[way] = [training_step(batch) for batch in epoch]
        gradients[way] = torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])
        student.zero_grad()
    for way in WAYS[1:]:
        gap = ((gradients["published"] - gradients[way]).norm() / gradients["published"].norm()).item()
        off = max(abs(one / other - 1) for one, other in zip(losses[way], losses["published"], strict=True))
        print(f"{way}: losses of {len(epoch)} steps differ by at most {off:.1e}, gradients by {gap:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=["steps", "memory"], default="steps")
    parser.add_argument("--shape", choices=SHAPES, default="roberta-base")
    parser.add_argument("--epochs", type=int, default=4, help="of four steps, after a first one that is not counted")
    parser.add_argument("--csv", help="write the seconds of a step of every epoch here")
    parser.add_argument("--peak", choices=(*WAYS, PLAIN), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak(options.peak, options.shape))
        return
    if options.part == "memory":
        memory(options.csv)
        return
    used = [peak_apart(way, options.shape) / 2**20 for way in WAYS[:2]]
    teacher, student = models(options.shape)
    epoch = batches_of(student.config.vocab_size)
    ways = {way: stepper(way, teacher, student) for way in WAYS}
    compare(ways, student, epoch)
    seconds = {f"{way}, {part}": [] for part in ("forward and backward", "with optimizer") for way in WAYS}
    for number in range(options.epochs + 1):
        for way, (training_step, optimizer, trainer) in ways.items():
            if way == "ours, first epoch":
                trainer.teacher.known.clear()
            learning = stepping = 0.0
            for batch in epoch:
                start = time.perf_counter()
                training_step(batch)
                middle = time.perf_counter()
                optimizer.step()
                learning, stepping = learning + middle - start, stepping + time.perf_counter() - middle
                student.zero_grad()
            if number:
                seconds[f"{way}, forward and backward"].append(learning / BATCHES)
                seconds[f"{way}, with optimizer"].append((learning + stepping) / BATCHES)
    texts = sum(len(batch["input_ids"]) for batch in epoch) / BATCHES
    print(
        f"nouns a second, medians of {options.epochs} epochs of {BATCHES} steps with {ROWS} nouns of {texts:g} texts, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"{options.shape + ', ratio to published':38} " + " ".join(f"{way:>20}" for way in WAYS))
    for part in ("forward and backward", "with optimizer"):
        took = [statistics.median(seconds[f"{way}, {part}"]) for way in WAYS]
        print(f"{part:38} " + " ".join(f"{ROWS / one:12.1f} {took[0] / one:6.2f}x" for one in took))
    print(f"{'peak memory of a step, MiB':38} " + " ".join(f"{one:12.0f} {used[0] / one:6.2f}x" for one in used))
    write_csv(options.csv, seconds)


if __name__ == "__main__":
    main()
