"""What a cache of teacher logits costs and saves: an epoch with and without it, reading alone, size against error.

    python benchmarks/teacher_cache.py [epoch] [read] [error] [--steps 30] [--csv benchmarks/teacher_cache]

`epoch`: seconds a training step, batch building included, of a student without a teacher, with a cache, and with the
teacher asked each time. Kinds take turns in random order, and seconds are the processor's where there is no GPU, so
that other work on the machine slows all alike or none; what counts is the ratio. Random
weights: a classifier of CLINC150's shape (3 layers of width 384 taught by 6, 151 labels, 32 texts of 16 tokens), and a
masked language model with 50,265 words (the same layers, 32 questions of 24 tokens), whose control learns single words.
`read`: rows a second that a cache gives in random order, and what share of a training step that is.
`error`: how far the KL divergence of the highest logits is off, in % of that of all, by k and rank, at T = 1 to 20. The
logits are generated: 50,265 words, width 768, one direction after the other with an amplitude of 1/i (steep) or
1/sqrt(i) (flat), peaked, on a Zipf distribution; for what the vocabulary matrix reads, in float16, three times as large
and without the peaks. --models TEACHER STUDENT takes masked language models instead, by hub
id or folder, with a word of each of --rows English sentences from the hub as a question.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from raw import write_csv
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizer,
    PreTrainedModel,
)

from blog.data.sources import unlabelled_texts
from blog.distillation.trainer import DistillationArguments, DistillationTrainer
from blog.losses import cross_entropy, kl_divergence
from blog.models.memory import gradients_in_place, recompute_activations
from blog.models.readout import logits_at
from blog.prompt_internalization.encoding import PROMPTS
from blog.prompt_internalization.trainer import (
    PromptInternalizationArguments,
    PromptInternalizationTrainer,
    TeacherStudentCollator,
    noun_logits,
)
from blog.teachers.cache import TeacherCache, cache_folder, cache_teacher_logits, load_arrays, save_arrays
from blog.teachers.compression import Basis, Compression, compress, decompress, error_table, head_basis
from blog.teachers.live import LiveTeacher, add_teacher_logits, example_ids, mask_logits

WIDE = dict(hidden_size=384, num_attention_heads=12, intermediate_size=1536)
STILL = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
BATCH, WORDS, TEMPERATURES = 32, 50_265, (1, 2, 5, 10, 20)
COMPRESSIONS = {
    "dense": Compression("float16"),
    "top-k": Compression(k=100, temperatures=(1, 10), rank=64),
    "head": Compression(head=True),
}
WIDTH = 768  # of what the vocabulary matrix reads, where logits are generated
CHOICES = ((100, 0), (300, 0), (1000, 0), (100, 32), (100, 64), (100, 128), (100, 256), (100, 512), (100, 768))


def tokenizer_of(words: int) -> BertTokenizer:
    "A tokenizer that only pads and knows the mask."
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return BertTokenizer(vocab={word: n for n, word in enumerate([*special, *map(str, range(words - 5))])})


def model(kind: type, layers: int, seed: int, **config) -> PreTrainedModel:
    torch.manual_seed(seed)
    return kind(BertConfig(**WIDE, **STILL, num_hidden_layers=layers, **config))


def classifier_data(rows: int) -> Dataset:
    tokens = torch.randint(1000, 30_000, (rows, 16), generator=torch.Generator().manual_seed(2))
    labels = torch.arange(rows) % 151
    return Dataset.from_dict(
        {"input_ids": tokens.tolist(), "attention_mask": [[1] * 16] * rows, "labels": labels.tolist()}
    )


def question_data(rows: int) -> Dataset:
    tokens = torch.randint(1000, WORDS, (rows, 24), generator=torch.Generator().manual_seed(2))
    questions = tokens.clone()
    questions[:, -2] = 4
    columns = {"input_ids": tokens.tolist(), "teacher_input_ids": questions.tolist(), "labels": [[3, 1]] * rows}
    return Dataset.from_dict(columns)


class SingleWords(PromptInternalizationTrainer):
    "No teacher: the student learns one word at the noun, its gradients made as they are with a teacher."

    def row_losses(self, model, inputs):
        with gradients_in_place(model), recompute_activations(model):
            logits = noun_logits(model, inputs, self.args.pooling)
        return cross_entropy(logits, inputs["input_ids"][:, 0], reduction="none"), {}


def trainers(shape: str, rows: int) -> tuple[dict, dict[str, TeacherCache]]:
    "For each kind a trainer on the same student and rows, and the caches by compression."
    quiet = dict(use_cpu=True, report_to="none", eval_strategy="no", load_best_model_at_end=False, disable_tqdm=True)
    quiet |= dict(per_device_train_batch_size=BATCH, dataloader_pin_memory=False)
    if shape == "classifier":
        tokenizer, data = tokenizer_of(30_522), classifier_data(rows)
        teacher, student = (model(BertForSequenceClassification, n, n, num_labels=151) for n in (6, 3))
        options = dict(train_dataset=data, processing_class=tokenizer)
        args = DistillationArguments(tempfile.mkdtemp(), alpha=0.1, **quiet)
        alone = DistillationArguments(tempfile.mkdtemp(), alpha=1.0, **quiet)
        made = {"no teacher": DistillationTrainer(student, alone, **options)}
        asked, collate, kinds = (
            LiveTeacher(teacher),
            made["no teacher"].data_collator,
            {"dense": Compression("float32")},
        )
        inputs = data.remove_columns("labels")

        def build(source):
            if source is teacher:
                return DistillationTrainer(student, args, teacher, **options)
            rows = add_teacher_logits(data, source.logits(inputs))
            return DistillationTrainer(student, args, **options | {"train_dataset": rows})

    else:
        tokenizer, inputs = tokenizer_of(WORDS), question_data(rows)
        teacher, student = (model(BertForMaskedLM, n, n, vocab_size=WORDS) for n in (6, 3))
        args = PromptInternalizationArguments(tempfile.mkdtemp(), **quiet)
        options = dict(train_dataset=inputs, processing_class=tokenizer)
        made = {"no teacher": SingleWords(student, args, teacher, **options)}
        asked, collate, kinds = LiveTeacher(teacher, mask_logits), TeacherStudentCollator(tokenizer), COMPRESSIONS

        def build(source):
            return PromptInternalizationTrainer(student, args, asked if source is teacher else source, **options)

    caches = {}
    for name, kept in kinds.items():
        begin = time.perf_counter()
        caches[name] = cache_teacher_logits(
            tempfile.mkdtemp(), asked, tokenizer, inputs, collate, kept, batch_size=BATCH
        )
        print(f"{shape}, {name}: {rows} rows asked, written and opened in {time.perf_counter() - begin:.1f} s")
    made |= {f"cache, {name}": build(cache) for name, cache in caches.items()} | {"asked each time": build(teacher)}
    return made, caches


def batches(trainer: DistillationTrainer | PromptInternalizationTrainer) -> Iterator[dict]:
    while True:
        yield from trainer.get_train_dataloader()


def epoch(steps: int, csv: str | None) -> None:
    for shape in ("classifier", "words"):
        made, caches = trainers(shape, rows=8 * BATCH)
        streams = {kind: batches(trainer) for kind, trainer in made.items()}
        seconds, read = {kind: [] for kind in made}, {name: [] for name in caches}
        optimizer = torch.optim.AdamW(made["no teacher"].model.parameters(), lr=1e-5, fused=True)
        clock = time.perf_counter if torch.cuda.is_available() else time.process_time
        for step in range(steps + 2):
            for kind in np.random.default_rng(step).permutation(list(made)):
                trainer, begin = made[kind], clock()
                batch = next(streams[kind])
                trainer.training_step(trainer.model, batch, torch.tensor(BATCH))
                optimizer.step()
                optimizer.zero_grad()
                if step >= 2:
                    seconds[kind].append(clock() - begin)
            for name, cache in caches.items():
                begin = clock()
                cache(batch)
                if step >= 2:
                    read[name].append(clock() - begin)
        base = statistics.median(seconds["no teacher"])
        print(f"{shape:16} median ms   times no teacher   ({steps} steps, {torch.get_num_threads()} threads)")
        for kind, taken in seconds.items():
            print(f"{kind:16} {1000 * statistics.median(taken):9.1f}   {statistics.median(taken) / base:16.3f}")
        for name, taken in read.items():
            print(f"reading, {name}: {100 * statistics.median(taken) / base:.2f} % of a step without a teacher")
        columns = seconds | {f"reading, {name}": taken for name, taken in read.items()}
        write_csv(csv and f"{csv}_{shape}.csv", columns)


def reading(rows: int, steps: int) -> None:
    "From caches much larger than a batch, random rows; made directly, without a teacher."
    generator = torch.Generator().manual_seed(0)
    tokens = torch.tensor(question_data(rows)["teacher_input_ids"][:])
    ids = example_ids({"teacher_input_ids": tokens}, "teacher_")
    for name, kept in COMPRESSIONS.items():
        rank = WIDTH if kept.head else 64
        basis = Basis(torch.zeros(WORDS), torch.randn(rank, WORDS, generator=generator))
        some = compress(torch.randn(64, rank if kept.head else WORDS, generator=generator), kept, basis)
        arrays = {key: np.concatenate([array] * (rows // 64)) for key, array in some.items()}
        key = {"labels": None, "entries": WORDS, "reads": "teacher_input_ids", **asdict(kept)}
        with tempfile.TemporaryDirectory() as root:
            folder = cache_folder(root, key)
            folder.mkdir()
            about = json.dumps({"key": key, "rows": rows, "shards": 1})
            directions = {"mean": basis.mean.numpy(), "directions": basis.directions.numpy().astype("float16")}
            save_arrays(folder / "cache.safetensors", directions, {"cache": folder.name, "about": about})
            head = load_arrays(folder / "cache.safetensors", {})[1]["sha256"]
            path = folder / "shard-00000.safetensors"
            save_arrays(path, {"example_ids": ids, **arrays}, {"cache": head, "shard": "0"})
            begin = time.perf_counter()
            cache, taken = TeacherCache(folder), []
            size = sum(file.stat().st_size for file in folder.iterdir())
            checked = size / (time.perf_counter() - begin)
            for _ in range(steps):
                picked = torch.randint(rows, (BATCH,), generator=generator)
                begin = time.perf_counter()
                cache({"teacher_input_ids": tokens[picked]})
                taken.append(time.perf_counter() - begin)
            middle = statistics.median(taken)
            print(
                f"{name:6} {size / 2**20:7.0f} MiB, checked at {checked / 1e9:.2f} GB/s; "
                f"{BATCH / middle:9,.0f} rows/s in random order, {1000 * middle:.2f} ms a batch of {BATCH}"
            )


def generated_head(flat: bool, rows: int) -> tuple[Tensor, Tensor, Basis, torch.Generator]:
    "What the vocabulary matrix reads of a teacher and of a student that is not there yet, and the matrix."
    generator = torch.Generator().manual_seed(0)
    amplitude = torch.arange(1, WIDTH + 1).float() ** (-0.5 if flat else -1.0)
    head = torch.randn(WIDTH, WORDS, generator=generator) * amplitude[:, None]
    head *= 2.0 / head.square().sum(0).mean().sqrt()
    hidden = torch.randn(rows, WIDTH, generator=generator)
    unigram = -torch.arange(1, WORDS + 1).float().log()[torch.randperm(WORDS, generator=generator)]
    off = hidden + 0.5 * torch.randn(rows, WIDTH, generator=generator)
    return hidden, off, Basis(unigram, head), generator


def head_error(hidden: Tensor, exact: Basis, teacher: Tensor, student: Tensor) -> dict[str, float]:
    "Size, and error of the mean KL in %, where float16 holds what the vocabulary matrix reads and the matrix."
    kept, rounded = Compression(head=True), Basis(exact.mean, exact.directions.half().float())
    (width, words), worst = exact.directions.shape, 0.0
    read = decompress(compress(hidden, kept), kept, words, rounded).values
    size = kept.bytes_per_row(words, width)
    row = {"k": math.nan, "rank": width, "bytes a row": size, "% of dense": 100 * size / (2 * words)}
    for temperature in TEMPERATURES:
        dense, found = (kl_divergence(student, logits, temperature, reduction="none") for logits in (teacher, read))
        row[f"T={temperature}"] = float(100 * (found.mean() / dense.mean() - 1))
        worst = max(worst, float(100 * (found / dense - 1).abs().max()))
    return row | {"worst row": worst}


def generated_head_error(flat: bool) -> dict[str, float]:
    "The same for generated logits, as large as those of a teacher that is sure."
    hidden, off, exact, _ = generated_head(flat, rows=800)
    return head_error(3 * hidden, exact, exact.logits(3 * hidden), exact.logits(3 * off))


def generated(flat: bool, rows: int = 1600) -> tuple[Tensor, Tensor]:
    "Logits of a teacher and of a student that is not there yet."
    hidden, off, basis, generator = generated_head(flat, rows)
    teacher, student = (basis.logits(each) for each in (hidden, off))
    answers = torch.randint(WORDS, (rows, 5), generator=generator)
    peaks = torch.tensor([14.0, 12.0, 11.0, 10.0, 9.0]).expand(rows, 5)
    return teacher.scatter_add(1, answers, peaks.expand(rows, 5)), student.scatter_add(
        1, answers, 0.8 * peaks.expand(rows, 5)
    )


@torch.no_grad()
def of_models(teacher: str, student: str, rows: int) -> tuple[Tensor, Tensor, dict[str, float]]:
    "Logits of a teacher at the mask of a question, of a student at the word itself, and `head_error` of the teacher."
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    texts, questions = unlabelled_texts(limit=200_000)["text"], []
    for text in texts[:: max(1, 200_000 // (2 * rows))]:
        ids = tokenizer(text)["input_ids"]
        words = [word for word in text.lower().strip(".!?").split() if len(word) > 3]
        places = [ids.index(n) for word in words if (n := tokenizer.convert_tokens_to_ids(word)) in ids]
        if places and len(questions) < rows:
            place = places[len(questions) % len(places)]
            noun = tokenizer.convert_ids_to_tokens(ids[place])
            question = next(iter(PROMPTS.values())).format(text=text, noun=noun, mask=tokenizer.mask_token)
            row = {"teacher_input_ids": tokenizer(question)["input_ids"], "input_ids": ids, "labels": [place, 1]}
            questions.append(row)
    collate = TeacherStudentCollator(tokenizer)
    batches = [collate(questions[start : start + BATCH]) for start in range(0, len(questions), BATCH)]
    asked = LiveTeacher(AutoModelForMaskedLM.from_pretrained(teacher), mask_logits)
    exact, read = torch.cat([asked(b).values for b in batches]), torch.cat([asked.head_inputs(b) for b in batches])
    learner = AutoModelForMaskedLM.from_pretrained(student).eval()
    own = [({key: b[key] for key in ("input_ids", "attention_mask")}, b["labels"]) for b in batches]
    found = torch.cat([logits_at(learner, inputs, labels) for inputs, labels in own])
    half, matrix = len(exact) // 2, head_basis(asked.model.get_output_embeddings())
    return exact, found, head_error(read[half:], matrix, exact[half:], found[half:])


def error(models: list[str] | None, rows: int, csv: str | None) -> None:
    choices = [Compression(k=k, rank=rank, temperatures=TEMPERATURES) for k, rank in CHOICES]
    worlds = {"models": lambda: of_models(*models, rows)} if models else {}
    worlds = worlds or {
        "steep": lambda: (*generated(False), generated_head_error(False)),
        "flat": lambda: (*generated(True), generated_head_error(True)),
    }
    columns: dict[str, list] = {}
    for world, make in worlds.items():
        teacher, student, head = make()
        fitting = [kept for kept in choices if kept.rank < min(len(teacher) // 2, teacher.shape[1])]
        table = error_table(teacher, student, fitting)
        table = pd.concat([table, pd.DataFrame([head])])
        top = teacher.softmax(-1).max(-1).values.mean()
        print(f"\n{world}: {teacher.shape[1]:,} words, {len(teacher)} rows, mean highest probability {top:.2f}")
        print("error of the mean KL in %; worst row: largest error of a single row")
        print(table.round(2).to_string(index=False))
        for name in table:
            columns.setdefault(name, []).extend(table[name].astype(float))
        columns.setdefault("world", []).extend([world] * len(table))
    write_csv(csv and f"{csv}_error{'_models' if models else ''}.csv", columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=["epoch", "read", "error"], help="all by default")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--models", nargs=2, metavar=("TEACHER", "STUDENT"))
    parser.add_argument("--rows", type=int, default=600, help="questions for --models")
    parser.add_argument("--csv", help="start of the names of the files for the raw figures")
    options = parser.parse_args()
    parts = options.parts or ["epoch", "read", "error"]
    if "epoch" in parts:
        epoch(options.steps, options.csv)
    if "read" in parts:
        reading(rows=4096, steps=10 * options.steps)
    if "error" in parts:
        error(options.models, options.rows, options.csv)


if __name__ == "__main__":
    main()
