"""Building training examples: the published search for a noun's tokens against `mark_examples`, in one run.

    python benchmarks/internalization_examples.py [--pairs FILE] [--rows 10000] [--csv FILE]

Counted are noun pairs a second, from texts with the noun's characters (so after the aligner) to a teacher's question
and two students, English and Spanish. The reference does what the published code did: one sentence at a time, decoding
every pair of positions until the noun comes out. How often both find the same tokens is printed. Without --pairs the
pairs are generated ones; FILE has English and Spanish in two columns with a tab between, may be compressed, and its
nouns are found and aligned first, which is not counted. Ways take turns, so that a machine that slows down slows all.
"""

import argparse
import csv
import os
import statistics
import time
from itertools import chain

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a process is a process, and not a pool of threads
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

import pandas
from datasets import Dataset, disable_caching
from raw import write_csv
from transformers import PreTrainedTokenizerFast

from blog.data.worlds.nouns import noun_senses
from blog.pretraining import train_subword_tokenizer
from blog.prompt_internalization.alignment import split_words, train_aligner
from blog.prompt_internalization.encoding import PROMPTS
from blog.prompt_internalization.examples import keep, mark_examples, mark_noun_pairs
from blog.prompt_internalization.nouns import learn_nouns

SIDES, WAYS = ("english", "spanish"), ("published", "1 process", "2 processes")
VOCABULARY = 16_000  # entries of the tokenizer, which is trained on the texts


def generated(rows: int) -> Dataset:
    "Pairs of sentences in which the noun stands once."
    pairs = noun_senses(2 * rows)["train"].filter(lambda n: n == 1, input_columns="mentions")
    return pairs.select(range(min(rows, len(pairs))))


def from_file(file: str, rows: int) -> Dataset:
    "As many noun pairs from the first sentences of a file. Prints how long finding and aligning the nouns took."
    options = dict(sep="\t", header=None, usecols=[0, 1], names=SIDES, quoting=csv.QUOTE_NONE, nrows=2 * rows)
    sentences = Dataset.from_pandas(pandas.read_csv(file, **options).dropna(), preserve_index=False)
    begin = time.perf_counter()
    split = [[split_words(text) for text in sentences[side][:]] for side in SIDES]
    pairs = keep(mark_noun_pairs(sentences, learn_nouns(sentences["english"][:]), train_aligner(*split).align))
    taken = time.perf_counter() - begin
    print(f"{len(sentences):,} sentences, {len(pairs):,} noun pairs: finder and aligner took {taken:.1f} s")
    return pairs.select(range(min(rows, len(pairs))))


def searched(tokenizer: PreTrainedTokenizerFast, ids: list[int], noun: str) -> tuple[int, int] | None:
    for start in range(len(ids)):
        for end in range(start + 1, len(ids) + 1):
            if tokenizer.decode(ids[start:end]).strip() == noun:
                return start, end - start
    return None


def published_way(row: dict, tokenizer: PreTrainedTokenizerFast) -> list[dict]:
    "The examples of a pair; labels are None where no tokens decode to the noun."
    nouns = [row[side][row[f"{side}_start"] : row[f"{side}_end"]] for side in SIDES]
    prompt = next(iter(PROMPTS.values()))
    question = tokenizer(prompt.format(text=row["english"], noun=nouns[0], mask=tokenizer.mask_token))["input_ids"]
    examples = []
    for side, noun in zip(SIDES, nouns, strict=True):
        ids = tokenizer(row[side])["input_ids"]
        example = {"teacher_input_ids": question, "input_ids": ids, "labels": searched(tokenizer, ids, noun)}
        examples.append(example)
    return examples


def compare(examples: Dataset, found: dict[int, list[dict]]) -> tuple[int, int]:
    "In how many of the students that both made the noun is found at the same tokens; how many there are."
    same = total = 0
    for row in examples.filter(lambda pair: pair in found, input_columns="pair"):
        other = found[row["pair"]][row["language"] == "es"]
        assert row["input_ids"] == other["input_ids"] and row["teacher_input_ids"] == other["teacher_input_ids"]
        same += other["labels"] is not None and list(other["labels"]) == row["labels"]
        total += 1
    return same, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", metavar="FILE", help="English and Spanish with a tab between, a pair a line")
    parser.add_argument("--rows", type=int, default=10_000, help="noun pairs at most")
    parser.add_argument("--sample", type=int, default=100, help="noun pairs of the reference in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", help="write the pairs a second of every round here")
    options = parser.parse_args()
    disable_caching()
    pairs = from_file(options.pairs, options.rows) if options.pairs else generated(options.rows)
    tokenizer = train_subword_tokenizer(chain(*(pairs[side][:] for side in SIDES)), VOCABULARY)
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    found: dict[int, list[dict]] = {}
    for turn in range(options.rounds):
        picked = [(turn * options.sample + n) % len(pairs) for n in range(options.sample)]
        rows = [pairs[n] for n in picked]
        begin = time.perf_counter()
        found |= {n: published_way(row, tokenizer) for n, row in zip(picked, rows, strict=True)}
        rates["published"].append(len(rows) / (time.perf_counter() - begin))
        for way, processes in zip(WAYS[1:], (None, 2), strict=True):
            begin = time.perf_counter()
            examples = keep(mark_examples(pairs, tokenizer, num_proc=processes))
            rates[way].append(len(pairs) / (time.perf_counter() - begin))
    same, total = compare(examples, found)
    print(f"{len(pairs):,} pairs, {len(examples):,} examples, {len(tokenizer):,} entries in the vocabulary")
    print(f"same tokens for {same} of {total} nouns; the search stops at the first place that reads like the noun")
    print(f"medians of {options.rounds} rounds:")
    print(f"{'':12} {'pairs/s':>10} {'ratio':>7}")
    base = statistics.median(rates["published"])
    for way, values in rates.items():
        middle = statistics.median(values)
        print(f"{way:12} {middle:10,.0f} {middle / base:7.1f}")
    write_csv(options.csv, rates)


if __name__ == "__main__":
    main()
