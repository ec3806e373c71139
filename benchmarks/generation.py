"""What `generate`, a pipeline and `batched_generate` add to a loop of forward passes."""

from collections.abc import Callable, Iterator

import torch
from harness import Case
from transformers import pipeline

from blog.generation.running import batched_generate
from blog.preferences.reward_models import new_causal, word_tokenizer

NEW = 32
WORDS = "the a old young sailor cook songs song soup harbour sees stirs sings near and .".split()
SIZES = {"80,000": (64, 2), "3 million": (256, 4)}  # width and layers


@torch.no_grad()
def loop(model, tokenizer, prompts: list[str]) -> list[str]:
    "A forward pass a token, with a cache and an argmax."
    read = tokenizer(prompts, return_tensors="pt", padding=True)
    mask, tokens, cache, said = read["attention_mask"], read["input_ids"], None, []
    places = (mask.cumsum(1) - 1).clamp(min=0)
    for _ in range(NEW):
        found = model(input_ids=tokens, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True)
        cache, tokens = found.past_key_values, found.logits[:, -1:].argmax(-1)
        mask, places = torch.cat([mask, mask.new_ones(len(mask), 1)], 1), places[:, -1:] + 1
        said.append(tokens)
    return tokenizer.batch_decode(torch.cat(said, 1), skip_special_tokens=True)


def generate(model, tokenizer, prompts: list[str]) -> list[str]:
    read = tokenizer(prompts, return_tensors="pt", padding=True)
    rows = model.generate(**read, do_sample=False, max_new_tokens=NEW, min_new_tokens=NEW)
    return tokenizer.batch_decode(rows[:, read["input_ids"].shape[1] :], skip_special_tokens=True)


def ways(model, tokenizer, prompts: list[str]) -> dict[str, Callable]:
    piped = pipeline("text-generation", model=model, tokenizer=tokenizer)
    how = dict(do_sample=False, max_new_tokens=NEW, min_new_tokens=NEW)
    return {
        "loop": lambda: loop(model, tokenizer, prompts),
        "generate": lambda: generate(model, tokenizer, prompts),
        "pipeline": lambda: [
            row[0]["generated_text"] for row in piped(prompts, return_full_text=False, batch_size=len(prompts), **how)
        ],
        "batched_generate": lambda: [
            text for row in batched_generate(model, tokenizer, prompts, **how) for text in row
        ],
    }


def cases() -> Iterator[Case]:
    tokenizer = word_tokenizer(WORDS)
    tokenizer.padding_side = "left"
    for size, (width, layers) in SIZES.items():
        model = new_causal(tokenizer, width=width, layers=layers).eval()
        model.generation_config.eos_token_id = None  # so that all say as many tokens
        for count in (1, 16):
            each = ways(model, tokenizer, ["the old sailor"] * count)
            yield Case(f"generation, {size} weights, prompts: {count}", each, unit="token", units=NEW, more=3)
