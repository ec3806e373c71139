"Small trainings, caches and records, each a function of the folder it writes to; run in processes of their own."

from pathlib import Path

import distill_worker
import internalization_worker
import torch
from datasets import Dataset
from distill_worker import TEXTS, classifier
from transformers import DataCollatorWithPadding, TrainingArguments
from transformers.utils import logging

import blog.pretraining
from blog.core.outcomes import outcome_table
from blog.core.records import record_run
from blog.distillation.trainer import DistillationArguments, distill, encode
from blog.models.students import train_tokenizer
from blog.prompt_internalization.trainer import PromptInternalizationArguments, train
from blog.teachers.cache import cache_teacher_logits
from blog.teachers.compression import Compression
from blog.teachers.live import LiveTeacher

STEPS = dict(max_steps=8, eval_steps=3, save_steps=3, eval_strategy="steps", save_strategy="steps", learning_rate=5e-3)
STEPS |= dict(use_cpu=True, disable_tqdm=True, report_to=[], per_device_train_batch_size=4)
torch.set_num_threads(1)
logging.set_verbosity_error()


def distilled(folder: str, best: bool, **more) -> dict:
    "Six steps a pass: the last checkpoint is two steps before the end, in the middle of a pass."
    args = DistillationArguments(folder, alpha=0.3, load_best_model_at_end=best, **STEPS | more)
    data, tokenizer = distill_worker.data(24), train_tokenizer(TEXTS, vocab_size=60)
    return distill(classifier(0, 2, 0.1), classifier(1, 1, 0.1), data, args, tokenizer, resume=True)


def kept_best(folder: str) -> None:
    "Measured and saved as it ends, too, so that a kill can come between the last checkpoint and the model."
    distilled(folder, best=True, eval_steps=2, save_steps=2, save_total_limit=1)


def kept_last(folder: str) -> None:
    distilled(folder, best=False)


def internalized(folder: str) -> None:
    "With a cache: the logits of a teacher that is asked live, batch by batch, are the same up to rounding only."
    tokenizer = blog.pretraining.train_subword_tokenizer(internalization_worker.TEXTS, 300, max_length=64)
    args = PromptInternalizationArguments(folder, **STEPS)
    teacher, student = (internalization_worker.model(seed, width, 0.1) for seed, width in ((0, 32), (1, 16)))
    data, cache = internalization_worker.examples(tokenizer), f"{folder}-cache"
    train(teacher, student, data, args, tokenizer, cache=cache, resume=True)


def pretrained(folder: str) -> None:
    tokenizer = blog.pretraining.train_subword_tokenizer(TEXTS, 300, max_length=64)
    args = TrainingArguments(folder, **{**STEPS, "max_steps": 6, "eval_strategy": "no", "logging_steps": 1})
    lines = Dataset.from_dict({"text": [f"{TEXTS[n % 5]} {n}" for n in range(60)]})
    student = internalization_worker.model(1, 16, 0.1)
    blog.pretraining.pretrain(lines, student, tokenizer, args, lines.select(range(9)), length=24, resume=True)


def cached(folder: str) -> None:
    "Forty rows in shards of six, as coordinates of a basis that is kept in the head."
    tokenizer, data = train_tokenizer(TEXTS, vocab_size=60), distill_worker.data(40)["train"]
    texts = [f"{text} {TEXTS[0][: n // 5]}" for n, text in enumerate(data["text"])]
    rows = encode(Dataset.from_dict({"text": texts}), tokenizer, None).remove_columns("labels")
    asked = LiveTeacher(classifier(0, 2, 0.1)), tokenizer, rows, DataCollatorWithPadding(tokenizer)
    cache_teacher_logits(
        folder, *asked, Compression("float32", k=2, temperatures=(1, 4), rank=2), shard_rows=6, batch_size=3
    )


def recorded(folder: str) -> None:
    settings = dict(config={"alpha": 0.5}, seeds=[1, 2], data="0" * 64, modules=["blog.losses"], root=Path(folder))
    with record_run("faults", "one", **settings) as run:
        run.summary |= {"accuracy": 0.75}
        run.add_outcomes(outcome_table("faults", "world", "student", 1, ["a", "b"], [0, 1], [0, 0]))
