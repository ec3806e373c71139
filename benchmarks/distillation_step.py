"""What a teacher costs: seconds a training step without one, with its logits given, and with it asked each time.

    python benchmarks/distillation_step.py [--steps 30] [--csv benchmarks/distillation_step.csv]

Random weights in the shapes of the CLINC150 study: 6 layers of width 384 teach 3 of them, 151 labels, batches of 32
texts of 16 tokens. Steps of the three kinds take turns, so that a machine that slows down slows all of them; what
counts is the ratio. Given and asked logits lead to the same gradient, which is checked first.
"""

import argparse
import statistics
import tempfile
import time

import torch
from raw import write_csv
from transformers import BertConfig, BertForSequenceClassification

from blog.distillation.trainer import DistillationArguments, DistillationTrainer

SHAPE = dict(vocab_size=30_522, hidden_size=384, num_attention_heads=12, intermediate_size=1536, num_labels=151)


def classifier(layers: int, seed: int) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    dropout = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return BertForSequenceClassification(BertConfig(**SHAPE, **dropout, num_hidden_layers=layers))


def gradient(trainer: DistillationTrainer, batch: dict) -> torch.Tensor:
    trainer.model.zero_grad()
    trainer.training_step(trainer.model, dict(batch), torch.tensor(len(batch["labels"])))
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--csv", help="write the seconds of every step here")
    options = parser.parse_args()

    teacher, student = classifier(6, seed=0).eval(), classifier(3, seed=1)
    batch = {
        "input_ids": torch.randint(1000, SHAPE["vocab_size"], (32, 16)),
        "attention_mask": torch.ones(32, 16, dtype=torch.long),
        "labels": torch.randint(SHAPE["num_labels"], (32,)),
    }
    with torch.no_grad():
        given = {**batch, "teacher_logits": teacher(**{k: v for k, v in batch.items() if k != "labels"}).logits}

    def trainer(alpha: float, asked: BertForSequenceClassification | None) -> DistillationTrainer:
        args = DistillationArguments(tempfile.mkdtemp(), alpha=alpha, eval_strategy="no", load_best_model_at_end=False)
        made = DistillationTrainer(student, args, asked)
        made.create_optimizer()
        return made

    live = trainer(0.1, teacher)
    kinds = {"no teacher": (trainer(1.0, None), batch), "logits given": (live, given), "asked each step": (live, batch)}
    gap = (gradient(live, given) - gradient(live, batch)).abs().max().item()
    print(f"largest difference of a gradient, given or asked: {gap:.1e}")

    seconds = {kind: [] for kind in kinds}
    for step in range(options.steps + 2):
        for kind, (made, inputs) in kinds.items():
            start = time.perf_counter()
            gradient(made, inputs)
            made.optimizer.step()
            if step >= 2:
                seconds[kind].append(time.perf_counter() - start)
    base = statistics.median(seconds["no teacher"])
    print(f"{'':16} median ms   times no teacher   ({options.steps} steps, {torch.get_num_threads()} threads)")
    for kind, taken in seconds.items():
        middle = statistics.median(taken)
        print(f"{kind:16} {1000 * middle:9.1f}   {middle / base:16.2f}")
    write_csv(options.csv, seconds)


if __name__ == "__main__":
    main()
