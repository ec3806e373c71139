"""A small encoder in every format beside plain PyTorch, on one thread: batch 1 and 32, 16 tokens.

The student has random weights (3 layers, 384 wide, 151 labels, as layers of MiniLM on CLINC150). Formats in float32
must give its logits within 1e-3; int8 stands apart, since its logits are others: 7 bits for the weights, and 8, which
on processors without VNNI instructions are the usual recipe and can overflow.
"""

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from harness import Case
from transformers import BertConfig, BertForSequenceClassification

from blog.evaluation.formats import length_batches, torch_way
from blog.models.export import (
    LogitsAlone,
    export_onnx,
    export_openvino,
    graph_inputs,
    load_onnx,
    load_openvino,
    quantize_onnx,
    trace_logits,
)
from blog.models.students import train_tokenizer


def cases() -> Iterator[Case]:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["check my balance", "transfer money please"], max_length=64)
    sizes = dict(vocab_size=30_522, hidden_size=384, num_hidden_layers=3, num_attention_heads=12, num_labels=151)
    model = BertForSequenceClassification(
        BertConfig(**sizes, intermediate_size=1536, max_position_embeddings=64)
    ).eval()
    names, folder = graph_inputs(model, tokenizer), Path(tempfile.mkdtemp())
    plain = export_onnx(model, tokenizer, folder / "plain.onnx")
    ways = {"plain PyTorch": torch_way(LogitsAlone(model, names), names)}
    ways["torch.export"] = torch_way(trace_logits(model, tokenizer).module(), names)
    ways["ONNX"] = load_onnx(plain)
    if find_spec("openvino"):
        ways["OpenVINO"] = load_openvino(export_openvino(plain, folder / "plain.xml"))
    int8 = {f"ONNX int8, {bits} bits": quantize_onnx(plain, folder / f"{bits}.onnx", bits=bits) for bits in (7, 8)}
    ways |= {name: load_onnx(path) for name, path in int8.items()}
    for rows in (1, 32):
        fixed = load_onnx(export_onnx(model, tokenizer, folder / f"fixed{rows}.onnx", (rows, 16)))
        calls = 20 if rows == 1 else 2
        batch = length_batches(names, 30_522, [rows], [16])[rows, 16]
        every = {name: repeated(way, batch, calls) for name, way in (ways | {"ONNX, fixed shapes": fixed}).items()}
        yield Case(f"student in every format, batch {rows}", every, 1e-3, "batch", calls, apart=list(int8))


def repeated(way, batch, calls: int):
    "A way called so often, and its last logits."

    def run():
        for _ in range(calls):
            logits = way(batch)
        return logits

    return run
