"""Describing nouns: the published one-by-one evaluation against `describe_many`.

The reference does what the published evaluation did: one text at a time, logits at all positions, a full sort of the
vocabulary at each, and the noun found by decoding every pair of positions. Two ways between leave out the search, and
the sort at the other positions. Random weights; distinct generated sentences with a noun each. What is compared are the
logarithms of the ten highest probabilities. Where the processor multiplies in bf16, `describe_many` of the model in
bf16 is a case of its own, since it rounds the probabilities to two or three digits.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from harness import Case
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from blog.core.machine import supports_bf16
from blog.data.worlds.nouns import noun_sense_texts, noun_senses
from blog.pretraining import small_modernbert, train_subword_tokenizer
from blog.prompt_internalization.describing import describe_many
from blog.prompt_internalization.encoding import encode_nouns

K, ENDS = 10, dict(max_position_embeddings=514, pad_token_id=0, bos_token_id=2, eos_token_id=3)
SHAPES: dict[str, tuple[int, Callable[[PreTrainedTokenizerFast], PreTrainedModel]]] = {  # entries, model
    "embedded": (2000, lambda tokenizer: small_modernbert(tokenizer, layers=3, width=128, max_length=128)),
    "roberta-base": (50_265, lambda _: RobertaForMaskedLM(RobertaConfig(vocab_size=50_265, **ENDS))),
}


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
def one_by_one(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    spans: Sequence[tuple[int, int]],
    places: Sequence[int],  # of the nouns, which the search must find
    everywhere: bool,  # sort at all positions
    search: bool,
) -> list[float]:
    "Logarithms of the highest probabilities, text by text."
    found = []
    for text, span, place in zip(texts, spans, places, strict=True):
        encoded = tokenizer(text, return_tensors="pt")
        probabilities = model(**encoded).logits[0].softmax(-1)
        if search:
            assert searched(tokenizer, encoded["input_ids"][0], text[slice(*span)]) == place, text
        if everywhere:
            top = probabilities.argsort(-1, descending=True)[place, :K]
        else:
            top = probabilities[place].argsort(descending=True)[:K]
        [tokenizer.decode([token]).strip() for token in top.tolist()]
        found += probabilities[place, top].log().tolist()
    return found


def together(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: list, spans: list) -> Tensor:
    return torch.tensor(describe_many(model, tokenizer, texts, spans, k=K).probability.to_numpy()).log()


def cases(nouns: int = 32, some: int = 8) -> Iterator[Case]:
    for shape, (entries, make) in SHAPES.items():
        tokenizer = tokenizer_of(entries)
        torch.manual_seed(0)
        model = make(tokenizer).eval()
        texts, spans = sentences(nouns)
        _, found = encode_nouns(tokenizer, texts, [(n, *span) for n, span in enumerate(spans)])
        places = [place for place, *_ in found]
        single = partial(one_by_one, model, tokenizer, texts[:some], spans[:some], places[:some])
        ours = partial(together, tokenizer=tokenizer, texts=texts, spans=spans)
        ways = {
            "published": lambda single=single: single(everywhere=True, search=True),
            "one by one, the noun's place given": lambda single=single: single(everywhere=True, search=False),
            "one by one, one sort": lambda single=single: single(everywhere=False, search=False),
            "describe_many": partial(ours, model),
        }
        units = dict.fromkeys(ways, some) | {"describe_many": nouns}
        first = lambda result: result[: K * some]
        yield Case(f"describing nouns, {shape}", ways, 1e-3, "noun", units, first)
        if supports_bf16():
            both = {"describe_many": ways["describe_many"], "bf16": partial(ours, copy.deepcopy(model).bfloat16())}
            yield Case(f"describing nouns, {shape}, bf16", both, 0.1, "noun", nouns)
