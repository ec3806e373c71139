"""What a notebook cell cannot show of blog.data: a machine without a hub, damaged files, seeds across processes."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def offline(code: str, cache: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run `code` in a new process whose hub cache is `cache` and which may not go online."""
    env = os.environ | {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"} | environment
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_DATASETS_CACHE"):
        env.pop(name, None)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)


@pytest.mark.parametrize("call, wanted", [("clinc150()", "clinc/clinc_oos"), ("unlabelled_texts()", "tatoeba")])
def test_no_hub_and_empty_cache_is_one_sentence(tmp_path, call, wanted):
    done = offline(f"from blog.data.sources import *\n{call}", tmp_path)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ConnectionError: ") and wanted in last and "HF_HUB_OFFLINE" in last


def test_json_needs_neither_hub_nor_cache(tmp_path):
    rows = {
        "train": [["hi", "greet"]],
        "val": [["hey", "greet"]],
        "oos_train": [["x", "oos"]],
        "oos_val": [["y", "oos"]],
    }
    file = tmp_path / "data_oos_plus.json.gz"
    file.write_bytes(gzip.compress(json.dumps(rows).encode()))
    cache = tmp_path / "cache"
    done = offline(f"from blog.data.sources import clinc150; print(clinc150({str(file)!r})['train'][1])", cache)
    assert done.stdout.strip() == "{'text': 'x', 'intent': 1}", done.stderr


DAMAGED = [b"\x1f\x8b\x08\x00cut", b"not gzip", gzip.compress(b'{"train": [')[:-4], gzip.compress(b"\xff\xfe")]


@pytest.mark.parametrize("content", DAMAGED, ids=["cut header", "not gzip", "cut body", "not utf-8"])
def test_damaged_gzip_is_a_value_error_that_names_the_file(tmp_path, content):
    from blog.data.sources import clinc150

    file = tmp_path / "damaged.json.gz"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.json\.gz.*download it again"):
        clinc150(file)


@pytest.mark.parametrize("content", [None, "rows.txt", "rows.parquet"])
def test_folder_without_usable_data_is_named(tmp_path, content):
    from blog.data.sources import clinc150

    folder = tmp_path / "no_data"
    folder.mkdir()
    if content:
        (folder / content).write_bytes(b"\x00\x01 damaged")
    with pytest.raises((ValueError, FileNotFoundError), match="no_data"):
        clinc150(folder, "default")


def test_synthetic_rows_do_not_depend_on_the_process(tmp_path):
    code = (
        "from blog.data.worlds.nouns import intents; from blog.data.sources import fingerprint\n"
        "print(fingerprint(intents(5, per_intent=3, eval_per_intent=2)))"
    )
    prints = {offline(code, tmp_path, PYTHONHASHSEED=seed).stdout for seed in ("1", "2")}
    assert len(prints) == 1 and len(prints.pop().strip()) == 64


def test_import_writes_nothing(tmp_path):
    done = offline("import blog.data.sources, blog.data.worlds.nouns", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "cache").exists()
