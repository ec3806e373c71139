"""What a teacher costs: steps with its logits live, cached and without it, reading alone, and what a cache leaves out.

Random weights: a classifier of CLINC150's shape (3 layers of width 384 taught by 6, 151 labels, 32 texts of 16 tokens),
and a masked language model with 50,265 words (the same layers, 32 questions of 24 tokens), whose control learns single
words. A step includes building its batch. What is compared are losses and norms of all gradients; the learning rate is
0, so that all start alike.

    python benchmarks/teacher_logits.py [--models TEACHER STUDENT] [--csv benchmarks/results.csv]

measures how far the KL divergence of the highest logits is off, in % of that of all, by k and rank, at T = 1 to 20. The
logits are generated: 50,265 words, width 768, one direction after the other with an amplitude of 1/i (steep) or
1/sqrt(i) (flat), peaked, on a Zipf distribution; for what the vocabulary matrix reads, in float16, three times as large
and without the peaks. --models takes masked language models instead, by hub id or folder, with a word of each of --rows
English sentences from the hub as a question.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator

import pandas as pd
import torch
from datasets import Dataset
from harness import Case, log_norms, write
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
from blog.teachers.cache import TeacherCache, cache_teacher_logits
from blog.teachers.compression import Basis, Compression, compress, decompress, error_table, head_basis
from blog.teachers.live import LiveTeacher, add_teacher_logits, mask_logits

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
        folder = tempfile.mkdtemp()
        caches[name] = cache_teacher_logits(folder, asked, tokenizer, inputs, collate, kept, batch_size=BATCH)
    made |= {f"cache, {name}": build(cache) for name, cache in caches.items()}
    return {"asked each time": build(teacher)} | made, caches


def step_of(trainer: DistillationTrainer | PromptInternalizationTrainer, rows: list[int]) -> Callable[[], Tensor]:
    "A step on these rows: logarithms of the loss and of the norm of every gradient."
    model, data = trainer.model, trainer.train_dataset
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)

    def step() -> Tensor:
        model.zero_grad(set_to_none=False)
        batch = trainer.data_collator([data[n] for n in rows])
        loss = trainer.training_step(model, batch, torch.tensor(BATCH))
        optimizer.step()
        return log_norms(model, loss[None])

    return step


def steps(shape: str) -> Iterator[Case]:
    made, caches = trainers(shape, rows=8 * BATCH)  # so many that a basis fits
    apart = [
        "no teacher",
        *(name for name in made if name == "cache, top-k"),
    ]  # the highest logits are an approximation
    ways = {name: step_of(trainer, list(range(BATCH))) for name, trainer in made.items()}
    batch = made["asked each time"].data_collator([made["asked each time"].train_dataset[n] for n in range(BATCH)])
    read = {f"reading, {name}": lambda cache=cache: cache(batch) and None for name, cache in caches.items()}
    yield Case(f"step with a teacher, {shape}", ways | read, 5e-3, "step", more=3, apart=[*apart, *read])


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


def errors(models: list[str] | None, rows: int) -> Iterator[dict]:
    "Rows of the table: size and error of each choice."
    choices = [Compression(k=k, rank=rank, temperatures=TEMPERATURES) for k, rank in CHOICES]
    worlds = {"models": lambda: of_models(*models, rows)} if models else {}
    worlds = worlds or {
        "steep": lambda: (*generated(False), generated_head_error(False)),
        "flat": lambda: (*generated(True), generated_head_error(True)),
    }
    for world, make in worlds.items():
        teacher, student, head = make()
        fitting = [kept for kept in choices if kept.rank < min(len(teacher) // 2, teacher.shape[1])]
        table = pd.concat([error_table(teacher, student, fitting), pd.DataFrame([head])])
        print(f"\n{world}: {teacher.shape[1]:,} words, {len(teacher)} rows")
        print(table.round(2).to_string(index=False))
        for row in table.to_dict("records"):
            way = "head inputs" if math.isnan(row["k"]) else f"highest {row['k']:.0f}, rank {row['rank']:.0f}"
            units = {"k": "", "rank": "", "bytes a row": "bytes", "% of dense": "%", "worst row": "%"}
            units |= {f"T={temperature}": "%" for temperature in TEMPERATURES}
            for name, unit in units.items():
                yield {
                    "case": world,
                    "way": way,
                    "role": "way",
                    "round": 0,
                    "measure": name,
                    "value": row[name],
                    "unit": unit,
                }


def cases() -> Iterator[Case]:
    for shape in ("classifier", "words"):
        yield from steps(shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs=2, metavar=("TEACHER", "STUDENT"))
    parser.add_argument("--rows", type=int, default=600, help="questions for --models")
    parser.add_argument("--csv", help="table of the raw figures")
    options = parser.parse_args()
    found = list(errors(options.models, options.rows))
    if options.csv:
        write(options.csv, "compression of models" if options.models else "compression", found)


if __name__ == "__main__":
    main()
