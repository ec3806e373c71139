"""A small distillation in a process of its own: python distill_worker.py OUTPUT_DIR [--batch N] [--kill-at STEP].

With --kill-at the process ends itself by SIGKILL before that step. Started again it resumes.
"""

import argparse
import os
import signal

import torch
from accelerate import PartialState
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from transformers import BertConfig, BertForSequenceClassification

from blog.distillation.trainer import DistillationArguments, DistillationTrainer, distill
from blog.models.students import train_tokenizer

NAMES = ["balance", "oos", "transfer"]
TEXTS = ["what is my balance", "sing a song", "please transfer money to my savings now", "my savings balance", "song"]


def classifier(seed: int, layers: int, dropout: float) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    shape = dict(vocab_size=60, hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=layers)
    labels = dict(id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)})
    return BertForSequenceClassification(
        BertConfig(**shape, **labels, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    )


def data(rows: int = 40) -> DatasetDict:
    features = Features({"text": Value("string"), "intent": ClassLabel(names=NAMES)})
    columns = {
        "text": [f"{TEXTS[i % 5]} {TEXTS[i % 7 % 5]}" for i in range(rows)],
        "intent": [i % 5 % 3 for i in range(rows)],
    }
    part = Dataset.from_dict(columns, features=features)
    return DatasetDict(train=part, validation=part.select(range(5)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("output_dir")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--kill-at", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)

    if options.kill_at is not None:
        step = DistillationTrainer.training_step

        def dying_step(self, *args, **kwargs):
            if self.state.global_step == options.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, *args, **kwargs)

        DistillationTrainer.training_step = dying_step

    args = DistillationArguments(
        options.output_dir,
        alpha=0.3,
        num_train_epochs=3,
        learning_rate=5e-3,
        per_device_train_batch_size=options.batch,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=3,
        save_steps=3,
        load_best_model_at_end=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    tokenizer = train_tokenizer(TEXTS, vocab_size=60)
    student = classifier(1, layers=1, dropout=options.dropout)
    distill(classifier(0, layers=2, dropout=0.1), student, data(), args, tokenizer=tokenizer, resume=True)


if __name__ == "__main__":
    main()
    PartialState().destroy_process_group()
