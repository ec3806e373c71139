"""How fast the small students train and answer, against plain twins, and beside the matrix products of their shapes.

Synthetic texts of 8 to 128 tokens (on average 68) in a vocabulary of 30,522, words as frequent as Zipf says; one word
in ten belongs to the text's label, of five. What is compared are weights after training, logits, and gradients of the
embeddings.

linear, batch 1: `torch.optim.SGD` with dense gradients, as the published 590 examples/s were had, the same with sparse
gradients, and `linear_sgd`. Then batches of 1,024: training likewise, and inference.
CNN: a training step (forward, backward, AdamW) on 32 x 128 tokens, all of them text, by torch's own convolution and by
`TextCNN`; published are 46 steps a second. Beside it the bare matrix products of the convolutions, forward.
BiLSTM: the same step by packed sequences and by `BiLSTMClassifier`.
"""

import copy
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from harness import Case
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


def sgd_steps(model: FastTextClassifier, texts: list[Tensor], labels: Tensor, rate: float) -> None:
    "The plain way: automatic differentiation and torch's optimizer, a step for each tensor of token ids."
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for ids, label in zip(texts, labels, strict=True):
        optimizer.zero_grad()
        F.cross_entropy(model(ids).logits, label).backward()
        optimizer.step()


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def learned(start: FastTextClassifier, learn: Callable[[FastTextClassifier], None], sparse: bool = False) -> Tensor:
    "Weights of a copy after training."
    model = copy.deepcopy(start)
    model.embedding.sparse = sparse
    learn(model)
    return weights(model)


def linear() -> Iterator[Case]:
    torch.manual_seed(0)
    config = FastTextConfig(vocab_size=VOCABULARY, num_labels=LABELS)
    ids, labels = synthetic_texts(8192, 8)
    start, few, many = FastTextClassifier(config), 100, 2000
    with torch.no_grad():
        bags = start.bags(ids, start.text_mask(ids))
    single = [row[row != 0][None] for row in ids[:many]]

    def plain(rows: int) -> Callable[[FastTextClassifier], None]:
        return lambda model: sgd_steps(model, single[:rows], labels[:rows, None], 0.1)

    def fast(rows: int) -> Callable[[FastTextClassifier], None]:
        return lambda model: linear_sgd(model, bags[0], bags[1][: rows + 1], labels[:rows], 0.1)

    ways = {
        "SGD, dense gradients": lambda: learned(start, plain(few)),
        "SGD, sparse gradients": lambda: learned(start, plain(few), sparse=True),
        "linear_sgd": lambda: learned(start, fast(few)),
    }
    yield Case("linear student, batch 1, 100 texts", ways, 1e-5, "text", few)
    ways = {
        "SGD, sparse gradients": lambda: learned(start, plain(many), sparse=True),
        "linear_sgd": lambda: learned(start, fast(many)),
    }
    yield Case("linear student, batch 1, 2,000 texts", ways, 1e-4, "text", many)
    texts, by_batch = ids.split(1024), labels.split(1024)
    ways = {
        "SGD, dense gradients": lambda: learned(start, lambda model: sgd_steps(model, texts, by_batch, 0.1)),
        "SGD, sparse gradients": lambda: learned(start, lambda model: sgd_steps(model, texts, by_batch, 0.1), True),
        "linear_sgd": lambda: learned(start, lambda model: linear_sgd(model, *bags, labels, 0.1, batch_size=1024)),
    }
    yield Case("linear student, batches of 1,024", ways, 1e-4, "text", len(ids))
    yield answers(start, texts, len(ids))


def answers(model: FastTextClassifier, texts: tuple[Tensor, ...], count: int) -> Case:
    padding_index = nn.EmbeddingBag(VOCABULARY, model.config.embedding_size, mode="mean", padding_idx=0)
    padding_index.weight.data.copy_(model.embedding.weight.data)

    @torch.inference_mode()
    def answer(scores: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([scores(batch) for batch in texts])

    ways = {
        "EmbeddingBag with padding_idx": lambda: answer(lambda batch: model.output(padding_index(batch))),
        "FastTextClassifier": lambda: answer(lambda batch: model(batch).logits),
    }
    return Case("linear student, answers", ways, 1e-4, "text", count)


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


def step_of(model: nn.Module, ids: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    "A training step with AdamW, fused, as the Trainer takes it, at rate 0: logits and gradients of the embeddings."
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
    table = next(p for name, p in model.named_parameters() if name.endswith("embedding.weight"))

    def step() -> Tensor:
        optimizer.zero_grad()
        logits = model(ids)
        logits = logits if isinstance(logits, Tensor) else logits.logits
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
        return torch.cat([logits.detach().flatten(), table.grad.flatten()])

    return step


def cnn() -> Case:
    torch.manual_seed(0)
    config = TextCNNConfig(vocab_size=VOCABULARY, num_labels=LABELS)
    ids, labels = synthetic_texts(32, TOKENS)
    fast = TextCNN(config)
    plain, rows = ConvTwin(fast), len(ids) * TOKENS
    shapes = [(torch.randn(rows, width * 50), torch.randn(width * 50, 100)) for width in config.filter_sizes]
    ways = {
        "nn.Conv1d": step_of(plain.eval(), ids, labels),  # without dropout, which draws in another order
        "TextCNN": step_of(fast.eval(), ids, labels),
        "matrix products, forward": lambda: [one @ two for one, two in shapes] and None,
    }
    return Case("CNN student, step of 32 texts", ways, 1e-4, "step", apart=["matrix products, forward"])


def bilstm() -> Case:
    torch.manual_seed(0)
    ids, labels = synthetic_texts(32, 8)
    fast = BiLSTMClassifier(BiLSTMConfig(vocab_size=VOCABULARY, num_labels=LABELS))
    ways = {
        "packed sequences": step_of(PackedTwin(fast).eval(), ids, labels),
        "BiLSTMClassifier": step_of(fast.eval(), ids, labels),
    }
    return Case("BiLSTM student, step of 32 texts", ways, 1e-4, "step")


def cases() -> Iterator[Case]:
    yield from linear()
    yield cnn()
    yield bilstm()
