"""Describing nouns: the published one-by-one evaluation against `describe_many`, in one run.

    python benchmarks/describe_many.py [--shape roberta-base|multilingual|embedded] [--nouns 256] [--csv FILE]

The reference does what the published evaluation did: one text at a time, logits at all positions, a full sort of the
vocabulary, and the noun found by decoding every pair of positions. What it costs is shown in parts, since only the
first is needed: (1) the sort at the noun alone and its place given, (2) the sort at all positions, as a call on the
whole of the logits has it, (3) the search as well. Random weights; distinct generated sentences with a noun each.
Both give the same words, which is checked. The two take turns, so that a machine that slows down slows both; what
counts is the ratio. Last, `describe_many` under bf16 autocast, which rounds the probabilities to two or three digits:
on a processor that multiplies bf16 faster, it is what makes a large body cheap.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from raw import write_csv
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from blog.data.worlds.nouns import noun_sense_texts, noun_senses
from blog.pretraining import small_modernbert, train_subword_tokenizer
from blog.prompt_internalization.describing import describe_many
from blog.prompt_internalization.encoding import encode_nouns

K, ENDS = 10, dict(max_position_embeddings=514, pad_token_id=0, bos_token_id=2, eos_token_id=3)
SMALL = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
SHAPES: dict[str, tuple[int, Callable[[PreTrainedTokenizerFast], PreTrainedModel]]] = {  # entries, model
    "embedded": (2000, lambda tokenizer: small_modernbert(tokenizer, layers=3, width=128, max_length=128)),
    "multilingual": (250_002, lambda _: XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=250_002, **SMALL, **ENDS))),
    "roberta-base": (50_265, lambda _: RobertaForMaskedLM(RobertaConfig(vocab_size=50_265, **ENDS))),
}
OURS = {"describe_many": False, "describe_many, bf16": True}  # whether under autocast
PARTS = ("noun's place given", "and a sort at every position", "and the search for the noun")


def tokenizer_of(entries: int) -> PreTrainedTokenizerFast:
    "A tokenizer of the generated sentences, filled up with words that they do not have."
    tokenizer = train_subword_tokenizer(noun_sense_texts(4000), min(entries, 8000))
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = data["model"]["vocab"]
    vocabulary |= {f"Ġfiller{n}": n for n in range(len(vocabulary), entries)}
    names = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(data)), model_max_length=512, **names)


def sentences(wanted: int) -> tuple[list[str], list[tuple[int, int]]]:
    "Texts, no two alike, and the characters of one noun in each."
    rows = noun_senses(2 * wanted)["train"].to_pandas().drop_duplicates("english")[:wanted]
    return rows.english.tolist(), list(zip(rows.english_start, rows.english_end, strict=True))


def searched(tokenizer: PreTrainedTokenizerFast, ids: Tensor, noun: str) -> int:
    pairs = ((a, b) for a in range(len(ids)) for b in range(a + 1, len(ids) + 1))
    return next(a for a, b in pairs if tokenizer.decode(ids[a:b]).strip() == noun)


@torch.no_grad()
def published_way(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, text: str, span: tuple[int, int], place: int
) -> tuple[list[tuple[str, float]], list[float]]:
    "Words with probabilities, and the seconds of the three parts, each with those before it."
    begin = time.perf_counter()
    encoded = tokenizer(text, return_tensors="pt")
    probabilities = model(**encoded).logits[0].softmax(-1)
    middle = time.perf_counter()
    top = probabilities[place].argsort(descending=True)[:K].tolist()
    words = [
        (
            tokenizer.decode([token]).strip() or tokenizer.convert_ids_to_tokens(token),
            probabilities[place, token].item(),
        )
        for token in top
    ]
    end = time.perf_counter()
    again = probabilities.argsort(-1, descending=True)[place, :K].tolist()
    everywhere = time.perf_counter()
    found = searched(tokenizer, encoded["input_ids"][0], text[slice(*span)])
    last = time.perf_counter()
    assert again == top and found == place, text
    one, every = end - begin, (middle - begin) + (everywhere - end)
    return words, [one, every, every + (last - everywhere)]


def same_words(one: list[tuple[str, float]], other: list[tuple[str, float]]) -> bool:
    "Whether two descriptions are alike; raises ValueError where they differ by more than two almost equal words."
    for (_, p), (_, q) in zip(one, other, strict=True):
        if abs(p - q) > 1e-4 * p:
            raise ValueError(f"the two ways differ: {one} and {other}")
    return [word for word, _ in one] == [word for word, _ in other]


def measure(shape: str, nouns: int, sample: int, rounds: int) -> tuple[dict[str, list[float]], int]:
    "Seconds a noun of each way in every round; how many descriptions of the sample are the same, word for word."
    entries, make = SHAPES[shape]
    tokenizer = tokenizer_of(entries)
    torch.manual_seed(0)
    model = make(tokenizer).eval()
    texts, spans = sentences(nouns)
    _, places = encode_nouns(tokenizer, texts, [(n, *span) for n, span in enumerate(spans)])
    seconds: dict[str, list[float]] = {name: [] for name in (*PARTS, *OURS)}
    alike = 0
    for turn in range(rounds + 1):
        taken = {}
        for way, half in OURS.items():
            begin = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                found = describe_many(model, tokenizer, texts, spans, k=K)
            taken[way] = (time.perf_counter() - begin) / nouns
            if not half:
                described = list(zip(found.word, found.probability.tolist(), strict=True))
        picked = [(turn * sample + n) % nouns for n in range(sample)]  # others in each round
        ones = [published_way(model, tokenizer, texts[n], spans[n], places[n][0]) for n in picked]
        if turn == 0:
            continue  # the first round warms up
        alike += sum(
            same_words(words, described[n * K : (n + 1) * K]) for n, (words, _) in zip(picked, ones, strict=True)
        )
        for part, values in zip(PARTS, zip(*(parts for _, parts in ones), strict=True), strict=True):
            seconds[part].append(statistics.fmean(values))
        for way in OURS:
            seconds[way].append(taken[way])
    return seconds, alike


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, action="append", help="can be given again; default: all")
    parser.add_argument("--nouns", type=int, default=256, help="that describe_many gets at once")
    parser.add_argument("--sample", type=int, default=16, help="nouns that the reference describes in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", help="write the seconds a noun of every round here")
    options = parser.parse_args()
    columns = {name: [] for name in ("shape", *PARTS, *OURS)}
    for shape in options.shape or SHAPES:
        seconds, alike = measure(shape, options.nouns, options.sample, options.rounds)
        ours = statistics.median(seconds["describe_many"])
        print(f"{shape}: {options.nouns} nouns, medians of {options.rounds} rounds, {torch.get_num_threads()} threads")
        checked = options.rounds * options.sample
        print(f"  {alike} of {checked} descriptions the same word for word, the others but for a tie")
        print(f"  {'':41} {'ms a noun':>10} {'ratio':>7}")
        for way, taken in seconds.items():
            middle = statistics.median(taken)
            name = way if way in OURS else f"one by one, {way}"
            print(f"  {name:41} {1000 * middle:10.3f} {middle / ours:7.1f}", flush=True)
        for name, taken in {"shape": [shape] * options.rounds, **seconds}.items():
            columns[name] += taken
    write_csv(options.csv, columns)


if __name__ == "__main__":
    main()
