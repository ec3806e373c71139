"""A training step of prompt internalization: the published way against ours, in one run.

    python benchmarks/internalization_step.py [--shape roberta-base|multilingual] [--steps 5] [--csv FILE]

The reference does what the published code did: teacher and student score their whole vocabulary at every position, one
position a row is kept, and the optimizer is the Trainer's default. Ours is `PromptInternalizationTrainer` with a live
teacher, and with one that was asked before and whose answers are read from disk, as every epoch and every run after
the first can (`train(cache=...)`); asking them once is timed too. Random weights, no dropout, 16 rows, student 24
tokens, teacher 32; losses and gradients are compared first. Steps of the three take turns, so that a machine that slows
down slows all; what counts is the ratio. Memory is the peak of a step over what the process held before it (models,
gradients and optimizer), measured in a process of its own.
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from datasets import Dataset
from raw import write_csv
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import (
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from blog.distillation.teacher import LiveTeacher, SignalCache, SignalForm, ask_once, mask_logits
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
WAYS = ("published", "ours", "ours, teacher kept")
TEMPERATURE, ROWS = 10.0, 16


def models(shape: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    teacher = SHAPES[shape]().eval().requires_grad_(False)
    return teacher, SHAPES[shape]().train()


def batch_of(vocabulary: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(5, vocabulary, (ROWS, 24), generator=generator),
        "attention_mask": torch.ones(ROWS, 24, dtype=torch.long),
        "teacher_input_ids": torch.randint(5, vocabulary, (ROWS, 32), generator=generator),
        "teacher_attention_mask": torch.ones(ROWS, 32, dtype=torch.long),
        "labels": torch.stack([torch.randint(1, 20, (ROWS,), generator=generator), torch.ones(ROWS).long()], dim=-1),
        "teacher_labels": torch.stack([torch.full((ROWS,), 30), torch.ones(ROWS).long()], dim=-1),
    }


def published_loss(student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    "Every logit of both models, then one position a row."
    said = student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    with torch.no_grad():
        told = teacher(input_ids=batch["teacher_input_ids"], attention_mask=batch["teacher_attention_mask"]).logits
    rows = torch.arange(ROWS)
    said, told = said[rows, batch["labels"][:, 0]], told[rows, batch["teacher_labels"][:, 0]]
    log_q, log_p = (F.log_softmax(logits.float() / TEMPERATURE, dim=-1) for logits in (said, told))
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * TEMPERATURE**2


def kept_answers(teacher: nn.Module, batch: dict[str, Tensor]) -> SignalCache:
    "What the teacher says of the batch, written to disk and opened for reading."
    rows = Dataset.from_dict({name: batch[name].tolist() for name in batch if name.startswith("teacher_")})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel()))

    def collate(rows):
        return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}

    asked = LiveTeacher(teacher, mask_logits)
    return ask_once(tempfile.mkdtemp(), asked, tokenizer, rows, collate, SignalForm("float32", head=True))


def stepper(way: str, teacher: nn.Module, student: nn.Module, batch: dict[str, Tensor]):
    "Two functions of one way: forward and backward, which returns the loss, and the optimizer's step."
    if way == "published":
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)

        def training_step():
            loss = published_loss(student, teacher, batch)
            loss.backward()
            return loss.item()

        return training_step, optimizer
    args = PromptInternalizationArguments(
        tempfile.mkdtemp(), temperature=TEMPERATURE, eval_strategy="no", load_best_model_at_end=False, use_cpu=True
    )
    trainer = PromptInternalizationTrainer(
        student,
        args,
        teacher=kept_answers(teacher, batch) if way.endswith("kept") else teacher,
        processing_class=object(),
        data_collator=list,
    )
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4, fused=True)
    rows = torch.tensor(ROWS)
    return lambda: trainer.training_step(student, dict(batch), rows).item(), optimizer


def held(field: str) -> int:
    "VmRSS or VmHWM of this process in bytes."
    status = Path("/proc/self/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) * 1024


def peak(way: str, shape: str) -> int:
    "Bytes that a step takes over what models, gradients and optimizer hold: the median of three, after a first one."
    teacher, student = models(shape)
    training_step, optimizer = stepper(way, teacher, student, batch_of(student.config.vocab_size))
    for parameter in student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    training_step()  # loads what is loaded once
    taken = []
    for _ in range(3):
        ctypes.CDLL(None).malloc_trim(0)  # what earlier steps have freed
        Path("/proc/self/clear_refs").write_text("5")
        before = held("VmRSS")
        training_step()
        taken.append(held("VmHWM") - before)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="roberta-base")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--csv", help="write the seconds of every step here")
    parser.add_argument("--peak", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak(options.peak, options.shape))
        return

    memory = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--shape", options.shape, "--peak", way]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
        memory[way] = int(run.stdout.split()[-1])

    teacher, student = models(options.shape)
    batch = batch_of(student.config.vocab_size)
    ways = {way: stepper(way, teacher, student, batch) for way in WAYS}
    losses, gradients = {}, {}
    for way, (training_step, _) in ways.items():
        losses[way] = training_step()
        gradients[way] = torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])
        student.zero_grad()
    for way in WAYS[1:]:
        gap = ((gradients["published"] - gradients[way]).norm() / gradients["published"].norm()).item()
        print(f"{way}: loss {losses[way]:.6f} (published {losses['published']:.6f}), gradients differ by {gap:.1e}")
    del gradients
    began = time.perf_counter()
    kept_answers(teacher, batch)
    asking = time.perf_counter() - began

    seconds = {f"{way}, {part}": [] for part in ("forward and backward", "with optimizer") for way in WAYS}
    for step in range(options.steps + 1):
        for way, (training_step, optimizer) in ways.items():
            start = time.perf_counter()
            training_step()
            middle = time.perf_counter()
            optimizer.step()
            end = time.perf_counter()
            student.zero_grad(set_to_none=False)
            if step:
                seconds[f"{way}, forward and backward"].append(middle - start)
                seconds[f"{way}, with optimizer"].append(end - start)
    print(f"medians of {options.steps} steps, {torch.get_num_threads()} threads")
    print(f"{options.shape + ', ratio to published':38} " + " ".join(f"{way:>20}" for way in WAYS))
    for part in ("forward and backward", "with optimizer"):
        took = [statistics.median(seconds[f"{way}, {part}"]) for way in WAYS]
        print(f"{part + ', s':38} " + " ".join(f"{one:12.3f} {took[0] / one:6.2f}x" for one in took))
    used = [memory[way] / 2**20 for way in WAYS]
    print(f"{'peak memory of a step, MiB':38} " + " ".join(f"{one:12.0f} {used[0] / one:6.2f}x" for one in used))
    print(f"asking and keeping the answers of the batch once: {asking:.3f} s")
    write_csv(options.csv, seconds)


if __name__ == "__main__":
    main()
