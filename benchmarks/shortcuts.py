"""Measures of shortcuts, each against its plain twin.

artifacts: z-scores, exact tests and Holm of 25,000 texts of 14 words with three labels; the twin counts with
dictionaries and makes z-scores alone, without a test or a correction, so its time is that of a part.
replacement: 32 nouns, in singular and plural, by their hypernyms two levels up in 8,000 texts of 14 words; the twin
substitutes one regular expression after the other.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from harness import Case

from blog.shortcuts.artifacts import artifact_statistics
from blog.shortcuts.replacement import hypernym_path, hypernyms, replace_words, small_taxonomy

Ways = dict[str, Callable[[], np.ndarray]]


def plain_artifacts(texts: list[str], labels: np.ndarray) -> np.ndarray:
    "z-scores, words in alphabetical order within labels."
    n, counts, found = Counter(), [Counter() for _ in range(3)], []
    for text, label in zip(texts, labels, strict=True):
        words = set(text.split())
        n.update(words)
        counts[label].update(words)
    for label in range(3):
        prior = float(np.mean(labels == label))
        for word in sorted(n):
            k, size = counts[label][word], n[word]
            found.append((k / size - prior) / math.sqrt(prior * (1 - prior) / size))
    return np.array(found)


def artifacts(texts: int) -> Ways:
    rng, frequency = np.random.default_rng(0), 1 / np.arange(1, 30_001)
    labels = rng.choice(3, texts, p=[0.6, 0.3, 0.1])
    ids = rng.choice(30_000, (texts, 14), p=frequency / frequency.sum()) + 7 * labels[:, None]
    said = [" ".join(f"w{n}" for n in row) for row in ids]

    def ours() -> np.ndarray:
        return artifact_statistics(said, labels, prior="empirical").z.to_numpy()

    return {"artifacts, dictionaries, no test": lambda: plain_artifacts(said, labels), "artifact_statistics": ours}


def plain_replacement(texts: list[str], replacements: dict[str, str], plural: dict[str, str]) -> list[str]:
    for word, new in replacements.items():
        for old, young in ((plural[word], plural[new]), (word, new)):
            texts = [re.sub(rf"\b{old}\b", young, text) for text in texts]
    return texts


def replacement(texts: int) -> Ways:
    taxonomy = small_taxonomy()
    above = {name for noun in taxonomy.senses for name in hypernym_path(noun, taxonomy)}
    leaves = [noun for noun in taxonomy.senses if noun not in above and " " not in noun]
    plural = {
        noun: re.sub("(?<=[^aeiou])y$", "ie", noun) + ("es" if noun.endswith("ch") else "s") for noun in taxonomy.senses
    }
    plural |= {noun: form for form, noun in taxonomy.irregular.items()}
    up = hypernyms(leaves, taxonomy, 2)
    words = [*(f"w{n}" for n in range(5000)), *leaves * 20, *[plural[noun] for noun in leaves] * 10]
    said = [" ".join(row) for row in np.random.default_rng(1).choice(words, (texts, 14))]
    return {
        "replacement, one expression a word": lambda: np.array(plain_replacement(said, up, plural)),
        "replace_words": lambda: np.array(replace_words(said, up, taxonomy).texts),
    }


def cases() -> Iterator[Case]:
    yield Case("artifact statistics", artifacts(25_000), 1e-9)
    yield Case("replacement by hypernyms", replacement(8_000))
