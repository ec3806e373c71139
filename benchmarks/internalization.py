"""Prompt internalization: a training step and the making of examples, the published way against ours.

step: the reference does what the published code did: one noun a row, teacher and student score their whole vocabulary
at every position, one position a row is kept, and AdamW is the plain one. Ours is `PromptInternalizationTrainer`, which
reads a sentence once for all of its nouns, and whose teacher is memoized. An epoch has two batches of 16 rows: English
and Spanish sentences with 1, 2, 3 and 4 nouns by turns, as in Tatoeba those of 17 to 24 words (2.6; all of them 1.5),
shuffled; both languages ask the same question. Student 24 tokens, teacher 32; random weights, no dropout. Timed is the
last batch: ours where every question is new, and in later epochs, which ask nothing; of the first epoch both batches,
since the second asks what the first has not asked yet. Beside them: without `blog.models.memory`, the bare student, its
encoder forward and backward, and the optimizer, and the teacher's encoder, forward. Then what a step with kept answers
has and the bare student has not: products with the matrix of the vocabulary, three of the student and one of the
teacher, in bf16 the copy of the student's, and the loss, forward and backward. Losses and norms of all gradients are
compared, and the operations of matrix products are counted. The learning rate is 0, so that all start alike. Where the
processor multiplies in bf16, the same under autocast is a case of its own, with the published way in float32 to compare
with, from which losses and norms may differ by 2 %.
examples: from texts with the noun's characters to a teacher's question and two students, English and Spanish. The
reference takes one sentence at a time and decodes every pair of positions until the noun comes out.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain
from unittest.mock import patch

import torch
import torch.nn.functional as F
from datasets import Dataset, disable_caching
from harness import Case, log_norms
from torch import Tensor, nn
from transformers import (
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

import blog.prompt_internalization.trainer as trainers
from blog.core.machine import supports_bf16
from blog.data.worlds.nouns import noun_senses
from blog.losses import kl_divergence
from blog.pretraining import train_subword_tokenizer
from blog.prompt_internalization.encoding import PROMPTS
from blog.prompt_internalization.examples import keep, mark_examples
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
NEW, FIRST, LATER = "ours, new questions", "ours, first epoch", "ours, later epochs"
PLAIN = "ours, new questions, plain gradients"  # without `blog.models.memory`
BARE, TEACHER = "the bare student", "the teacher's encoder"  # which are there to be compared with in time
WORDS, COPY, LOSS = "products with the vocabulary", "a copy of the vocabulary in bf16", "the loss"  # as these
TEMPERATURE, ROWS, BATCHES = 10.0, 16, 2  # of an epoch
HALF = 0.02  # in bf16, logarithms of losses and norms: four times what was seen
SIDES = ("english", "spanish")


def models(shape: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    teacher = SHAPES[shape]().eval().requires_grad_(False)
    return teacher, SHAPES[shape]().train()


def epoch_of(vocabulary: int) -> list[dict[str, Tensor]]:
    "Batches in which each question comes twice, by two texts, and the nouns of a text together."
    generator = torch.Generator().manual_seed(1)
    rows = ROWS * BATCHES
    questions = torch.randint(5, vocabulary, (rows // 2, 32), generator=generator)
    sentence = torch.tensor([n for n, count in enumerate([1, 2, 3, 4] * rows) for _ in range(count)][: rows // 2])
    text = torch.cat([sentence, sentence + sentence.max() + 1])  # English, and Spanish
    order = torch.randperm(int(text.max()) + 1, generator=generator)[text].argsort(stable=True)
    texts = torch.randint(5, vocabulary, (int(text.max()) + 1, 24), generator=generator)
    starts, ones = torch.randint(1, 20, (rows,), generator=generator), torch.ones(ROWS, dtype=torch.long)

    def batch(some: Tensor) -> dict[str, Tensor]:
        own, text_of = text[some].unique(return_inverse=True)
        return {
            "labels": torch.stack([starts[some], ones], dim=-1),
            "teacher_labels": torch.stack([30 * ones, ones], dim=-1),
            "text_of": text_of,
            "teacher_input_ids": questions.repeat(2, 1)[some],
            "teacher_attention_mask": torch.ones(ROWS, 32, dtype=torch.long),
            "input_ids": texts[own],
            "attention_mask": torch.ones(len(own), 24, dtype=torch.long),
        }

    return [batch(some) for some in order.split(ROWS)]


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


def published(student: nn.Module, teacher: nn.Module) -> Callable[[dict], float]:
    def step(batch: dict[str, Tensor]) -> float:
        loss = published_loss(student, teacher, batch)
        loss.backward()
        return loss.item()

    return step


def ours(student: nn.Module, teacher: nn.Module, way: str) -> Callable[[dict], float]:
    args = PromptInternalizationArguments(
        tempfile.mkdtemp(), temperature=TEMPERATURE, eval_strategy="no", load_best_model_at_end=False, use_cpu=True
    )
    trainer = PromptInternalizationTrainer(
        student, args, teacher=teacher, processing_class=object(), data_collator=list
    )
    rows, known = torch.tensor(ROWS), trainer.teacher.known
    without = dict.fromkeys(("gradients_in_place", "recompute_activations"), lambda model: nullcontext())

    def step(batch: dict[str, Tensor]) -> float:
        if way != LATER and "begins" in batch:
            known.clear()
        with patch.multiple(trainers, **without) if way == PLAIN else nullcontext():
            return trainer.training_step(student, dict(batch), rows).item()

    return step


def bare(student: nn.Module) -> Callable[[dict], float]:
    def step(batch: dict[str, Tensor]) -> float:
        states = student.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
        states.sum().backward()
        return 1.0

    return step


def whole(
    student: nn.Module, step: Callable[[dict], float], batches: list[dict], fused: bool = True, half: bool = False
) -> Callable[[], Tensor]:
    "A step for each batch; the loss of the last."
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.0, fused=fused)

    def run() -> Tensor:
        for batch in batches:
            student.zero_grad(set_to_none=False)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = step(batch)
            optimizer.step()
        return torch.tensor([loss])

    return run


def asked(teacher: nn.Module, batch: dict[str, Tensor], half: bool) -> Callable[[], None]:
    questions = batch["teacher_input_ids"].unique(dim=0)

    @torch.no_grad()
    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            teacher.base_model(input_ids=questions)

    return run


def added(student: nn.Module, teacher: nn.Module, half: bool) -> dict[str, Callable[[], None]]:
    "What a step with kept answers does beyond the bare student's, by parts."
    wide = [model.get_output_embeddings().weight.detach() for model in (student, teacher)]
    ours, theirs = [matrix.bfloat16() for matrix in wide] if half else wide
    kept, gradient = torch.randn(ROWS, ours.shape[1], dtype=ours.dtype), torch.zeros_like(wide[0])
    answers, logits = torch.randn(2, ROWS, len(ours)).unbind()
    logits.requires_grad_()

    def words() -> None:
        F.linear(kept, theirs)
        scores = F.linear(kept, ours)
        scores @ ours
        gradient.addmm_(scores.float().T, kept.float())

    def copy() -> None:
        wide[0].bfloat16()

    def loss() -> None:
        kl_divergence(logits, answers, TEMPERATURE).backward()

    return {WORDS: words, LOSS: loss} | ({COPY: copy} if half else {})


def steps(shape: str) -> Iterator[Case]:
    teacher, student = models(shape)
    for parameter in student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    epoch = epoch_of(student.config.vocab_size)
    for half in (False, True) if supports_bf16() and shape != "tiny" else (False,):
        one, plain = [epoch[-1] | {"begins": True}], published(student, teacher)
        every = [epoch[0] | {"begins": True}, *epoch[1:]]
        ways = {"published": whole(student, plain, one, fused=False)}
        ways |= {"published, bf16": whole(student, plain, one, fused=False, half=True)} if half else {}
        for way in (NEW, PLAIN, LATER) if half else (NEW, PLAIN, LATER, FIRST):
            ways[way] = whole(student, ours(student, teacher, way), every if way == FIRST else one, half=half)
        apart = {BARE: whole(student, bare(student), one, half=half), TEACHER: asked(teacher, one[0], half)}
        apart |= added(student, teacher, half)
        yield Case(
            f"step of prompt internalization, {shape}{', bf16' * half}",
            ways | apart,
            HALF if half else 2e-3,
            "noun",
            dict.fromkeys(ways | apart, ROWS) | {FIRST: ROWS * len(epoch)},
            lambda loss: log_norms(student, loss),
            apart=list(apart),
            count=not half,
        )


def searched(tokenizer: PreTrainedTokenizerFast, ids: list[int], noun: str) -> tuple[int, int] | None:
    for start in range(len(ids)):
        for end in range(start + 1, len(ids) + 1):
            if tokenizer.decode(ids[start:end]).strip() == noun:
                return start, end - start
    return None


def published_examples(rows: list[dict], tokenizer: PreTrainedTokenizerFast) -> list[int]:
    "Start and length of the noun in each sentence."
    found, prompt = [], next(iter(PROMPTS.values()))
    for row in rows:
        nouns = [row[side][row[f"{side}_start"] : row[f"{side}_end"]] for side in SIDES]
        tokenizer(prompt.format(text=row["english"], noun=nouns[0], mask=tokenizer.mask_token))
        for side, noun in zip(SIDES, nouns, strict=True):
            found += searched(tokenizer, tokenizer(row[side])["input_ids"], noun)
    return found


def marked_examples(pairs: Dataset, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    rows = keep(mark_examples(pairs, tokenizer)).to_pandas().sort_values(["pair", "language"])  # en before es
    return [int(n) for labels in rows["labels"] for n in labels]


def examples(size: int = 2000, some: int = 50) -> Case:
    disable_caching()
    pairs = noun_senses(2 * size)["train"].filter(lambda n: n == 1, input_columns="mentions")
    pairs = pairs.select(range(min(size, len(pairs))))
    tokenizer = train_subword_tokenizer(chain(*(pairs[side][:] for side in SIDES)), 16_000)
    rows = [pairs[n] for n in range(some)]
    ways = {"published": lambda: published_examples(rows, tokenizer)}
    ways |= {"mark_examples": lambda: marked_examples(pairs, tokenizer)}
    units = dict(zip(ways, (some, len(pairs)), strict=True))
    return Case("examples from noun pairs", ways, 0.0, "pair", units, lambda found: found[: 4 * some])


def cases() -> Iterator[Case]:
    for shape in SHAPES:
        yield from steps(shape)
    yield examples()
