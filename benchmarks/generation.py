"""What `generate`, a pipeline and `batched_generate` add to a loop of forward passes, in processor time a token.

python benchmarks/generation.py [--rounds N] [--csv FILE]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from raw import write_csv
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


def ways(model, tokenizer) -> dict[str, Callable]:
    piped = pipeline("text-generation", model=model, tokenizer=tokenizer)
    how = dict(do_sample=False, max_new_tokens=NEW, min_new_tokens=NEW)
    return {
        "loop": lambda prompts: loop(model, tokenizer, prompts),
        "generate": lambda prompts: generate(model, tokenizer, prompts),
        "pipeline": lambda prompts: piped(prompts, return_full_text=False, batch_size=len(prompts), **how),
        "batched_generate": lambda prompts: batched_generate(model, tokenizer, prompts, **how),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--csv", help="file for the raw figures")
    options = parser.parse_args()
    tokenizer = word_tokenizer(WORDS)
    tokenizer.padding_side = "left"
    columns = {name: [] for name in ("weights", "prompts", "loop", "generate", "pipeline", "batched_generate")}
    for size, (width, layers) in SIZES.items():
        model = new_causal(tokenizer, width=width, layers=layers).eval()
        model.generation_config.eos_token_id = None  # so that all say as many tokens
        for count in (1, 16):
            prompts, each_way = ["the old sailor"] * count, ways(model, tokenizer)
            found = {name: [] for name in each_way}
            for way in each_way.values():
                way(prompts)
            for _ in range(options.rounds):
                columns["weights"].append(size)
                columns["prompts"].append(str(count))
                for name, way in each_way.items():
                    begun = time.process_time()
                    way(prompts)
                    found[name].append(1000 * (time.process_time() - begun) / NEW)
                    columns[name].append(found[name][-1])
            first = statistics.median(found["loop"])
            for name, each in found.items():
                middle = statistics.median(each)
                print(
                    f"{size:10} weights, {count} prompts, {name:16} {middle:8.2f} ms {middle / first:6.2f} of the loop"
                )
    write_csv(options.csv, columns)


if __name__ == "__main__":
    main()
