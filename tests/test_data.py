"""What a notebook cell cannot show of blog.data: a machine without a hub, damaged files, seeds across processes."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import zipfile
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
        "from blog.data.worlds.intents import intents; from blog.data.sources import fingerprint\n"
        "print(fingerprint(intents(5, per_intent=3, eval_per_intent=2)))"
    )
    prints = {offline(code, tmp_path, PYTHONHASHSEED=seed).stdout for seed in ("1", "2")}
    assert len(prints) == 1 and len(prints.pop().strip()) == 64


def test_import_writes_nothing(tmp_path):
    done = offline("import blog.data.sources, blog.data.worlds.nouns, blog.data.worlds.reviews", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "cache").exists()


def test_built_packages_hold_the_words_of_the_worlds(tmp_path):
    root, source = Path(__file__).parents[1], tmp_path / "source"
    shutil.copytree(root / "blog", source / "blog", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.ini", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(root / name, source)
    build = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        tmp_path / "dist",
        source,
    ]  # sdist, wheel of it
    done = subprocess.run(build, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = (
        "import blog; from blog.data.worlds import intents, nouns, reviews; print(blog.__file__)\n"
        "print(len(intents.intents(per_intent=1)['train']), len(nouns.SENSES), len(reviews.REVIEW_NOUNS))"
    )
    done = offline(code, tmp_path / "cache", PYTHONPATH=str(tmp_path / "installed"), PYTHONSAFEPATH="1")
    assert done.stdout.split() == [str(tmp_path / "installed" / "blog" / "__init__.py"), "41", "178", "3"], done.stderr
