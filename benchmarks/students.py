"""How fast the small students train and answer, against plain twins, the published figures and the matrix product.

    python benchmarks/students.py linear [--rounds 7] [--csv benchmarks/students_linear.csv]
    python benchmarks/students.py cnn    [--rounds 30] [--csv benchmarks/students_cnn.csv]
    python benchmarks/students.py bilstm [--rounds 7] [--csv benchmarks/students_bilstm.csv]

Synthetic texts of 8 to 128 tokens (on average 68) in a vocabulary of 30,522, words as frequent as Zipf says; one word
in ten belongs to the text's label, of five. The ways take turns, so that a machine that slows down slows all of them;
what counts is the ratio. Values, gradients and trained weights of the ways are compared first.

linear: batch 1 is `torch.optim.SGD` with dense gradients, as the published 590 examples/s were had, the same with
sparse gradients, and `linear_sgd`. Then batches of 1,024: training likewise, and inference.
cnn: a training step (forward, backward, AdamW) on 32 x 128 tokens, all of them text, by torch's own convolution and by
`TextCNN`; published are 46 steps a second. The arithmetic limit is that of the plain way: 3 x 2 x (multiplications of
the convolutions) at the speed of a matrix product of the same shape in the same round.
bilstm: the same step by packed sequences and by `BiLSTMClassifier`.
"""

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from raw import write_csv
from torch import Tensor, nn

from blog.models.students import (
    BiLSTMClassifier,
    BiLSTMConfig,
    FastTextClassifier,
    FastTextConfig,
    TextCNN,
    TextCNNConfig,
    linear_sgd,
)

VOCABULARY, TOKENS, LABELS = 30_522, 128, 5


def synthetic_texts(texts: int, shortest: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    "Token ids, (texts, TOKENS), padded with 0 on the right, and labels, (texts,)."
    source = torch.Generator().manual_seed(seed)
    ids = torch.rand(texts, TOKENS, generator=source).mul(torch.tensor(VOCABULARY - 1.0).log()).exp().long()
    labels = torch.randint(LABELS, (texts,), generator=source)
    telling = torch.rand(ids.shape, generator=source) < 0.1
    ids = torch.where(telling, (ids - ids % LABELS + labels[:, None]).clamp(1, VOCABULARY - 1), ids)
    ids[torch.arange(TOKENS) >= torch.randint(shortest, TOKENS + 1, (texts, 1), generator=source)] = 0
    return ids, labels


def take_turns(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    "Seconds of each way in each round, after a round to warm up."
    seconds = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def show(seconds: dict[str, list[float]], units: dict[str, int], unit: str, published: float = math.inf) -> None:
    "Units a second of each way at its median and best round; the median against the first way and a published figure."
    first = statistics.median(next(iter(seconds.values()))) / units[next(iter(seconds))]
    print(f"{unit + '/s':32} {'median':>12} {'best':>12} {'x first':>9} {'x published':>12}")
    for name, taken in seconds.items():
        middle, best = units[name] / statistics.median(taken), units[name] / min(taken)
        against = f" {middle / published:12.1f}" if published < math.inf else ""
        print(f"{name:32} {middle:12,.1f} {best:12,.1f} {middle * first:9.2f}{against}")


def gap(one: nn.Module, two: nn.Module) -> float:
    "Largest difference between two models' parameters."
    return max((a - b).abs().max().item() for a, b in zip(one.parameters(), two.parameters(), strict=True))


def sgd_steps(model: FastTextClassifier, texts: list[Tensor], labels: Tensor, rate: float) -> None:
    "The plain way: automatic differentiation and torch's optimizer, a step for each tensor of token ids."
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for ids, label in zip(texts, labels, strict=True):
        optimizer.zero_grad()
        F.cross_entropy(model(ids).logits, label).backward()
        optimizer.step()


def linear(rounds: int) -> dict[str, list[float]]:
    torch.manual_seed(0)
    config = FastTextConfig(vocab_size=VOCABULARY, num_labels=LABELS)
    ids, labels = synthetic_texts(20_480, 8)
    start = FastTextClassifier(config)
    with torch.no_grad():
        bags = start.bags(ids, start.text_mask(ids))
    held, held_labels = synthetic_texts(4096, 8, seed=1)

    plain, sparse, fast = (copy.deepcopy(start) for _ in range(3))
    sparse.embedding.sparse = True
    single = [row[row != 0][None] for row in ids[:4096]]
    for epoch in range(3):
        rate = 0.5 / 2**epoch
        sgd_steps(sparse, single, labels[:4096, None], rate)
        linear_sgd(fast, bags[0], bags[1][:4097], labels[:4096], rate)
    sgd_steps(plain, single[:200], labels[:200, None], 0.5)
    again = copy.deepcopy(start)
    linear_sgd(again, bags[0], bags[1][:201], labels[:200], 0.5)
    with torch.no_grad():
        right = [(model(held).logits.argmax(1) == held_labels).float().mean().item() for model in (sparse, fast)]
    print(f"weights differ by {gap(plain, again):.1e} after 200 steps and {gap(sparse, fast):.1e} after 3 x 4,096;")
    print(f"accuracy on 4,096 new texts {right[0]:.4f} with torch.optim.SGD, {right[1]:.4f} with linear_sgd\n")

    few, many = 200, 2000
    one = {
        "SGD, dense gradients": lambda: sgd_steps(plain, single[:few], labels[:few, None], 0.1),
        "SGD, sparse gradients": lambda: sgd_steps(sparse, single[:few], labels[:few, None], 0.1),
        "linear_sgd": lambda: linear_sgd(fast, bags[0], bags[1][: many + 1], labels[:many], 0.1),
    }
    seconds = take_turns(one, rounds)
    print(f"training, batch 1 ({torch.get_num_threads()} threads)")
    show(seconds, dict(zip(one, (few, few, many), strict=True)), "examples", 590)

    texts, by_batch = ids.split(1024), labels.split(1024)
    batched = {
        "SGD, dense, 1,024": lambda: sgd_steps(plain, texts, by_batch, 0.1),
        "SGD, sparse, 1,024": lambda: sgd_steps(sparse, texts, by_batch, 0.1),
        "linear_sgd, 1,024": lambda: linear_sgd(fast, *bags, labels, 0.1, batch_size=1024),
    }
    seconds |= (trained := take_turns(batched, rounds))
    print("\ntraining, batches of 1,024")
    show(trained, dict.fromkeys(batched, len(ids)), "examples")

    padding_index = nn.EmbeddingBag(VOCABULARY, config.embedding_size, mode="mean", padding_idx=0)
    padding_index.weight.data.copy_(fast.embedding.weight.data)

    @torch.inference_mode()
    def answer(scores: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([scores(batch) for batch in texts])

    read = {
        "EmbeddingBag with padding_idx": lambda: answer(lambda batch: fast.output(padding_index(batch))),
        "FastTextClassifier": lambda: answer(lambda batch: fast(batch).logits),
    }
    apart = (read["EmbeddingBag with padding_idx"]() - read["FastTextClassifier"]()).abs().max().item()
    print(f"\ninference from token ids, batches of 1,024 (logits differ by {apart:.1e})")
    seconds |= (answered := take_turns(read, rounds))
    show(answered, dict.fromkeys(read, len(ids)), "examples")
    return seconds


class ConvTwin(nn.Module):
    "The CNN of a tutorial: nn.Conv1d a width and max over time; every token is text."

    def __init__(self, like: TextCNN):
        super().__init__()
        size = like.config.embedding_size
        self.embedding, self.output = copy.deepcopy(like.embedding), copy.deepcopy(like.output)
        self.convolutions = nn.ModuleList()
        for width, part in zip(like.config.filter_sizes, like.filters, strict=True):
            made = nn.Conv1d(size, len(part.weight), width)
            made.weight.data.copy_(part.weight.data.view(-1, width, size).transpose(1, 2))
            made.bias.data.copy_(part.bias.data)
            self.convolutions.append(made)

    def forward(self, ids: Tensor) -> Tensor:
        states = self.embedding(ids).transpose(1, 2)
        best = [made(states).relu().max(2).values for made in self.convolutions]
        return self.output(F.dropout(torch.cat(best, 1), 0.5, self.training))


class PackedTwin(nn.Module):
    "The recurrent student with packed sequences."

    def __init__(self, like: BiLSTMClassifier):
        super().__init__()
        config = like.config
        self.like = copy.deepcopy(like)
        self.both = nn.LSTM(config.embedding_size, config.hidden_size, batch_first=True, bidirectional=True)
        for name, parameter in self.like.onward.named_parameters():
            getattr(self.both, name).data.copy_(parameter.data)
            getattr(self.both, name + "_reverse").data.copy_(getattr(self.like.backward_, name).data)
        self.like.onward = self.like.backward_ = None

    def forward(self, ids: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.like.embedding(ids), (ids != 0).sum(1), batch_first=True, enforce_sorted=False
        )
        ends = self.both(packed)[1][0]
        hidden = self.like.relu(torch.cat([ends[0], ends[1]], 1)).relu()
        return self.like.output(F.dropout(hidden, 0.5, self.training))


def step_of(model: nn.Module, logits: Callable[[], Tensor], labels: Tensor) -> Callable[[], None]:
    "A training step with AdamW, fused, as the Trainer takes it."
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(logits(), labels).backward()
        optimizer.step()

    return step


def compare(plain: nn.Module, fast: nn.Module, ids: Tensor, labels: Tensor) -> None:
    "Print how far logits and the embeddings' gradients of the two are apart."
    found = []
    for model, table in ((plain.eval(), "embedding.weight"), (fast.eval(), "embedding.weight")):
        logits = model(ids) if isinstance(model, (ConvTwin, PackedTwin)) else model(ids).logits
        F.cross_entropy(logits, labels).backward()
        found.append((logits, next(p.grad for name, p in model.named_parameters() if name.endswith(table))))
        model.train()
    logits, gradients = ((one - two).abs().max().item() for one, two in zip(*found, strict=True))
    print(f"logits differ by {logits:.1e}, gradients of the embeddings by {gradients:.1e}")


def cnn(rounds: int) -> dict[str, list[float]]:
    torch.manual_seed(0)
    config = TextCNNConfig(vocab_size=VOCABULARY, num_labels=LABELS)
    ids, labels = synthetic_texts(32, TOKENS)
    fast = TextCNN(config)
    plain = ConvTwin(fast)
    compare(plain, fast, ids, labels)
    rows = len(ids) * TOKENS
    shapes = [(torch.randn(rows, width * 50), torch.randn(width * 50, 100)) for width in config.filter_sizes]
    operations = 2 * sum(one.shape[0] * one.shape[1] * two.shape[1] for one, two in shapes)
    ways = {
        "nn.Conv1d": step_of(plain, lambda: plain(ids), labels),
        "TextCNN": step_of(fast, lambda: fast(ids).logits, labels),
        "three matrix products": lambda: [one @ two for one, two in shapes],
    }
    seconds = take_turns(ways, rounds)
    print(f"training step, 32 x {TOKENS} tokens ({torch.get_num_threads()} threads)")
    show({name: seconds[name] for name in ("nn.Conv1d", "TextCNN")}, dict.fromkeys(ways, 1), "steps", 46)
    print(f"\narithmetic limit of a dense step, {3 * operations / 1e9:.2f} GFLOP forward and backward")
    for kind, of in (("median", statistics.median), ("best", min)):
        limit = 3 * of(seconds["three matrix products"])
        over = ", ".join(f"{name} takes {of(seconds[name]) / limit:.2f} of its time" for name in list(ways)[:2])
        print(f"{kind:6} {3 * operations / limit / 1e9:.0f} GFLOP/s, {1 / limit:.1f} steps/s; {over}")
    return seconds


def bilstm(rounds: int) -> dict[str, list[float]]:
    torch.manual_seed(0)
    ids, labels = synthetic_texts(32, 8)
    fast = BiLSTMClassifier(BiLSTMConfig(vocab_size=VOCABULARY, num_labels=LABELS))
    plain = PackedTwin(fast)
    compare(plain, fast, ids, labels)
    ways = {
        "packed sequences": step_of(plain, lambda: plain(ids), labels),
        "BiLSTMClassifier": step_of(fast, lambda: fast(ids).logits, labels),
    }
    seconds = take_turns(ways, rounds)
    print(f"training step, 32 texts of 8 to {TOKENS} tokens ({torch.get_num_threads()} threads)")
    show(seconds, dict.fromkeys(ways, 1), "steps")
    return seconds


STUDENTS = {"linear": (linear, 7), "cnn": (cnn, 30), "bilstm": (bilstm, 7)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", choices=STUDENTS)
    parser.add_argument("--rounds", type=int, help="rounds in which the ways take turns")
    parser.add_argument("--csv", help="write the seconds of every round here")
    options = parser.parse_args()
    measure, rounds = STUDENTS[options.student]
    write_csv(options.csv, measure(options.rounds or rounds))


if __name__ == "__main__":
    main()
