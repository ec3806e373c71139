"""Small trainings that run in processes of their own, for test_internalization_processes.py.

With `kill_at` the process ends itself by SIGKILL before that step. Started again it resumes.
"""

import os
import signal
import zlib
from pathlib import Path

import torch
from datasets import Dataset, DatasetDict, load_dataset
from transformers import ModernBertConfig, ModernBertForMaskedLM, Trainer, TrainingArguments

import blog.pretraining
import blog.prompt_internalization.train
from blog.prompt_internalization.examples import training_examples

NOUNS = [
    ("The crane lifts a beam.", "La grúa levanta una viga.", "crane", "grúa"),
    ("A crane eats fish in the lake.", "Una grulla come peces en el lago.", "crane", "grulla"),
    ("We saw a large bass.", "Vimos una lubina grande.", "bass", "lubina"),
    ("My bass has four strings.", "Mi bajo tiene cuatro cuerdas.", "bass", "bajo"),
    ("The bank lends money.", "El banco presta dinero.", "bank", "banco"),
]
TEXTS = [text for english, spanish, *_ in NOUNS for text in (english, spanish)]
VOCABULARY, TEACHER_WIDTH = 300, 48


def start(folder: str, rank: int, processes: int, port: int) -> None:
    "What a launcher gives to one of several processes; both streams go to FOLDER-RANK.log."
    log = os.open(f"{folder}-{rank}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(1)
    if processes > 1:
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes, "RANK": rank}
        where |= {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": processes}
        os.environ |= {name: str(value) for name, value in where.items()}


def die_before(step: int | None) -> None:
    usual = Trainer.training_step

    def dying(self, *args, **kwargs):
        if self.state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(self, *args, **kwargs)

    Trainer.training_step = dying


def model(seed: int, width: int, dropout: float) -> ModernBertForMaskedLM:
    "ModernBERT has no biases: those of BERT's keys have no gradient but rounding, which Adam makes large."
    torch.manual_seed(seed)
    sizes = dict(vocab_size=VOCABULARY, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=1)
    ends = dict(pad_token_id=0, bos_token_id=2, cls_token_id=2, eos_token_id=3, sep_token_id=3)
    drops = dict(embedding_dropout=dropout, mlp_dropout=dropout, initializer_range=0.3)
    return ModernBertForMaskedLM(ModernBertConfig(**sizes, **ends, **drops, num_attention_heads=2))


def examples(tokenizer) -> DatasetDict:
    "Forty rows, of which ten judge."
    columns = {
        name: [] for name in ("english", "spanish", "english_start", "english_end", "spanish_start", "spanish_end")
    }
    for english, spanish, *nouns in NOUNS * 4:
        starts = [text.index(noun) for text, noun in zip((english, spanish), nouns, strict=True)]
        spans = [place for begin, noun in zip(starts, nouns, strict=True) for place in (begin, begin + len(noun))]
        for column, value in zip(columns.values(), (english, spanish, *spans), strict=True):
            column.append(value)
    rows = training_examples(Dataset.from_dict(columns), tokenizer)
    return DatasetDict(train=rows, validation=rows.select(range(10)))


def internalize(launched: tuple, kill_at=None, batch=8, dropout=0.0, accumulate=1) -> None:
    "Prompt internalization by a teacher three times as wide: three passes of five steps, evaluated every third."
    start(*launched)
    die_before(kill_at)
    usual = blog.prompt_internalization.train.PromptInternalizationArguments
    blog.prompt_internalization.train.PromptInternalizationArguments = lambda *args, **options: usual(
        *args, gradient_accumulation_steps=accumulate, **options
    )
    tokenizer = blog.pretraining.train_subword_tokenizer(TEXTS, VOCABULARY, max_length=64)
    folder = Path(launched[0])
    blog.prompt_internalization.train.train(
        model(0, TEACHER_WIDTH, dropout=0.1),
        model(1, 16, dropout),
        examples(tokenizer),
        tokenizer,
        folder.parent,
        epochs=3,
        evaluation_steps=3,
        batch_size=batch,
        learning_rate=3e-3,
        run_name=folder.name,
        resume=True,
    )


class MaskingByContent(blog.pretraining.WholeWordMasking):
    "Masks a block as its tokens say, whatever batch and process it is in."

    def mask(self, blocks, generator):
        batches = []
        for n, row in enumerate(blocks["input_ids"]):
            generator = torch.Generator().manual_seed(zlib.crc32(str(row.tolist()).encode()))
            batches.append(super().mask({name: column[n : n + 1] for name, column in blocks.items()}, generator))
        return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def pretrain(launched: tuple, kill_at=None, batch=4, accumulate=1, stream=False, by_content=False, dropout=0.0) -> None:
    "A masked language model from scratch: eleven full steps a pass, 18 in all, a checkpoint every third."
    start(*launched)
    die_before(kill_at)
    if by_content:
        blog.pretraining.WholeWordMasking = MaskingByContent
    tokenizer = blog.pretraining.train_subword_tokenizer(TEXTS, VOCABULARY, max_length=64)
    lines = [f"{TEXTS[n % 10]} {TEXTS[n % 7]} {n}" for n in range(45)]
    texts = Dataset.from_dict({"text": lines})
    if stream:
        file = Path(f"{launched[0]}-{launched[1]}.txt")
        file.write_text("\n".join(lines), encoding="utf-8")
        texts = load_dataset("text", data_files=str(file), split="train", streaming=True)
    args = TrainingArguments(
        launched[0],
        max_steps=18,
        save_steps=3,
        logging_steps=1,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulate,
        learning_rate=3e-3,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        seed=3,
    )
    validation = Dataset.from_dict({"text": lines[:10]})
    blog.pretraining.pretrain(texts, model(1, 16, dropout), tokenizer, args, validation, length=64, resume=True)
