"""What a notebook cell cannot show of the cache of teacher logits: kills, processes side by side, damaged files.

Processes are forked from one that has imported what they need: each would take seconds to start on its own.
"""

import multiprocessing
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, DataCollatorWithPadding

import blog.teachers.cache as teacher_cache
from blog.models.students import train_tokenizer
from blog.prompt_internalization.trainer import TeacherStudentCollator
from blog.teachers.cache import (
    TeacherCache,
    cache_folder,
    cache_key,
    cache_teacher_logits,
    clear_cache,
    list_caches,
    verify_cache,
    write_cache,
)
from blog.teachers.compression import Compression
from blog.teachers.live import LiveTeacher, mask_logits
from blog.teachers.sharded import ShardedTeacher, write_sharded_cache

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["blog.teachers.cache", "blog.models.students", "blog.teachers.sharded"])
ROWS, SHARD_ROWS = 60, 10
WORDS = "what is my balance please transfer money to savings sing me a song now".split()
TEXTS = [f"{WORDS[i % 14]} {WORDS[i // 14]} {WORDS[i % 5]}" for i in range(ROWS)]
TOP_K = Compression("float32", k=2, temperatures=(1, 4), rank=2)
HEAD = Compression(head=True)  # of a masked language model


def everything(compression: Compression = TOP_K, seed: int = 0, texts: list[str] = TEXTS) -> tuple:
    "Teacher, tokenizer, data and collator, the same in every process."
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    tokenizer = train_tokenizer(TEXTS, vocab_size=60)
    shape = dict(vocab_size=60, hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=1)
    data = Dataset.from_dict(dict(tokenizer(texts)))
    if compression.head:
        masked = [[*ids[:2], tokenizer.mask_token_id, *ids[3:]] for ids in data["input_ids"]]
        asked = {"teacher_input_ids": masked, "input_ids": data["input_ids"], "labels": [[1, 1]] * len(data)}
        teacher = LiveTeacher(BertForMaskedLM(BertConfig(**shape)), mask_logits)
        return teacher, tokenizer, Dataset.from_dict(asked), TeacherStudentCollator(tokenizer), compression
    teacher = LiveTeacher(BertForSequenceClassification(BertConfig(**shape, num_labels=5)))
    return teacher, tokenizer, data, DataCollatorWithPadding(tokenizer), compression


def folder_of(root: Path, compression: Compression = TOP_K) -> Path:
    return cache_folder(root, cache_key(*everything(compression)))


def write(
    root: str,
    die_in: str | None = None,
    at: int = 0,
    launched: tuple | None = None,
    pause: float = 0.0,
    compression: Compression = TOP_K,
    sharded: bool = False,
) -> None:
    "Write a cache, in a process of its own; it may die at a given call of a function, or take its time for a shard."
    if launched:
        rank, processes, port = launched
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes, "RANK": rank}
        where |= {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": processes}
        os.environ |= {name: str(value) for name, value in where.items()}
    if die_in:
        module, name = (os, die_in[3:]) if die_in.startswith("os.") else (teacher_cache, die_in)
        usual, calls = getattr(module, name), []

        def dying(*args, **kwargs):
            calls.append(1)
            if len(calls) > at:
                os.kill(os.getpid(), signal.SIGKILL)
            return usual(*args, **kwargs)

        setattr(module, name, dying)
    if pause:
        usual = teacher_cache._write_shard

        def slow(path, *args):
            Path(root, f"{os.environ.get('RANK', '')}-asks-{int(path.stem[-5:])}").touch()
            time.sleep(pause)
            usual(path, *args)

        teacher_cache._write_shard = slow
    if sharded:  # five shards of rows, so that one of two processes has more of them
        teacher, *asked = everything(compression)
        teacher = ShardedTeacher(teacher.model, teacher.read)
        own = [(part.to_local().numel(), part.numel()) for part in teacher.model.parameters()]
        assert sum(numbers for numbers, _ in own) < 0.6 * sum(whole for _, whole in own)
        write_sharded_cache(root, teacher, *asked, shard_rows=12, batch_size=4)
    else:
        cache_teacher_logits(root, *everything(compression), shard_rows=SHARD_ROWS, batch_size=4)


def start(job: Callable, *args, **kwargs) -> multiprocessing.Process:
    process = FORKED.Process(target=job, args=args, kwargs=kwargs, daemon=True)
    process.start()
    return process


def ended(process: multiprocessing.Process) -> int:
    process.join(30)
    if process.is_alive():
        process.kill()
        pytest.fail("the process did not end")
    return process.exitcode


def everything_read(cache) -> np.ndarray:
    "All values of a cache, in the order of the texts."
    _, _, data, collate, _ = everything()
    return cache(collate([data[i] for i in range(ROWS)])).values.numpy()


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    "A whole cache, to be copied."
    root = tmp_path_factory.mktemp("sound")
    write(str(root))
    (folder,) = root.iterdir()
    return folder


@pytest.fixture
def copy(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / sound.name))


# in the third shard before it is asked, before its name, after the head, at the very first file, in the checksum
DEATHS = [
    ("_write_shard", 2),
    ("os.replace", 3),
    ("_checksum", 6),
    ("os.link", 0),
    ("os.fsync", 4),
    ("sample_basis", 0),
]


@pytest.mark.parametrize(("die_in", "at"), DEATHS, ids=[f"{name}-{at}" for name, at in DEATHS])
def test_killed_in_mid_write_and_started_again(sound, tmp_path, die_in, at):
    assert ended(start(write, str(tmp_path), die_in, at)) == -signal.SIGKILL
    folder = folder_of(tmp_path)
    with pytest.raises(ValueError, match=r"lacks \d of 6 shards|cache.safetensors"):
        TeacherCache(folder)
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.safetensors")}
    assert len(kept) < 6

    write(str(tmp_path))
    assert np.array_equal(everything_read(TeacherCache(folder)), everything_read(TeacherCache(sound)))
    assert kept == {name: (folder / name).stat().st_mtime_ns for name in kept}, "a whole shard was written again"
    assert verify_cache(folder) == []


def assert_same_to_rounding(*folders: Path) -> None:
    "Other shards, and so other batches of rows, may round otherwise."
    one, other = (everything_read(TeacherCache(folder)) for folder in folders)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-7)


def launch(folder: Path, processes: int, **options) -> list[multiprocessing.Process]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [start(write, str(folder), launched=(rank, processes, port), **options) for rank in range(processes)]


def test_two_processes_of_one_launch_write_half_each(sound, tmp_path):
    both = launch(tmp_path, 2, pause=0.05)
    assert [ended(process) for process in both] == [0, 0]
    folder = folder_of(tmp_path)
    assert np.array_equal(everything_read(TeacherCache(folder)), everything_read(TeacherCache(sound)))
    asked = {path.name for path in tmp_path.glob("*-asks-*")}
    assert asked == {f"{rank}-asks-{number}" for rank in range(2) for number in range(3 * rank, 3 * rank + 3)}


def test_two_processes_share_the_weights_of_a_teacher(sound, tmp_path):
    "One has three shards of rows to ask about and the other two; the cache is that of the whole teacher."
    assert [ended(process) for process in launch(tmp_path, 2, sharded=True)] == [0, 0]
    folder = folder_of(tmp_path)
    assert len(list(folder.glob("shard-*"))) == 5
    assert_same_to_rounding(folder, sound)


@pytest.mark.parametrize(("before", "after", "sharded"), [(2, 3, False), (2, 1, True)])
def test_a_killed_launch_goes_on_with_another_number_of_processes(sound, tmp_path, before, after, sharded):
    some = launch(tmp_path, before, sharded=sharded, pause=0.2)
    folder, deadline = folder_of(tmp_path), time.monotonic() + 30
    while len(list(folder.glob("shard-*"))) < 2:
        assert time.monotonic() < deadline and all(process.is_alive() for process in some)
        time.sleep(0.01)
    for process in some:
        process.kill()
        process.join()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    with pytest.raises(ValueError, match=r"lacks \d of \d shards"):
        TeacherCache(folder)

    assert [ended(process) for process in launch(tmp_path, after)] == [0] * after
    assert_same_to_rounding(folder, sound)
    assert kept == {name: (folder / name).stat().st_mtime_ns for name in kept}, "a whole shard was written again"


def test_two_processes_that_know_nothing_of_each_other(sound, tmp_path):
    both = [start(write, str(tmp_path), pause=0.05) for _ in range(2)]
    assert [ended(process) for process in both] == [0, 0]
    folder = folder_of(tmp_path)
    assert np.array_equal(everything_read(TeacherCache(folder)), everything_read(TeacherCache(sound)))
    assert not list(folder.glob(".*"))


def test_machines_without_a_launcher_are_given_shards(sound, tmp_path):
    options = dict(shard_rows=SHARD_ROWS, batch_size=4)
    folder = write_cache(tmp_path, *everything(), shards=[1, 3, 5], **options)
    (row,) = list_caches(tmp_path)
    assert (row["shards"], row["missing"], row["error"]) == (6, 3, None)
    faults = verify_cache(folder)
    assert len(faults) == 3 and "shard-00002.safetensors is missing" in faults[1]
    assert write_cache(tmp_path, *everything(), shards=[0, 2, 4], **options) == folder
    assert np.array_equal(everything_read(TeacherCache(folder)), everything_read(TeacherCache(sound)))


def test_read_while_another_process_writes(sound, tmp_path):
    writer, folder, seen = start(write, str(tmp_path), pause=0.1), folder_of(tmp_path), set()
    expected = everything_read(TeacherCache(sound))
    while writer.is_alive():
        try:
            found = everything_read(TeacherCache(folder))
            assert np.array_equal(found, expected)
            seen.add("whole")
        except ValueError as error:
            reason = str(error)
            assert "lacks" in reason or "missing" in reason, reason
            seen.add("unfinished")
        time.sleep(0.01)
    assert ended(writer) == 0 and "unfinished" in seen
    assert np.array_equal(everything_read(TeacherCache(folder)), expected)


def test_an_open_cache_outlives_its_replacement(copy):
    cache = TeacherCache(copy)
    before = everything_read(cache)
    for path in copy.glob("shard-*"):
        path.unlink()
    write(str(copy.parent))
    assert np.array_equal(everything_read(cache), before)


def test_a_stale_key_says_what_differs(copy):
    teacher, *asked, compression = everything()
    other = everything(seed=1)[0]
    with pytest.raises(ValueError, match=r"answers for something else: teacher \(there \w{16}, now \w{16}\)"):
        TeacherCache(copy, cache_key(other, *asked, compression))
    with pytest.raises(ValueError, match=r"k \(there 2, now None\), rank \(there 2, now 0\), temperatures"):
        TeacherCache(copy, cache_key(teacher, *asked, Compression("float32")))


def test_a_changed_data_set(copy):
    changed = [*TEXTS[:-1], "sing a song"]
    changed_data = everything(texts=changed)
    _, _, data, collate, _ = changed_data
    with pytest.raises(ValueError, match=r"something else: data \("):
        TeacherCache(copy, cache_key(*changed_data))
    with pytest.raises(LookupError, match=r"1 of 60 examples are not in .*, the first is number 59"):
        TeacherCache(copy)(collate([data[i] for i in range(ROWS)]))
    assert len(cache_teacher_logits(copy.parent, *changed_data, shard_rows=SHARD_ROWS)) == 60
    assert len(list_caches(copy.parent)) == 2 and verify_cache(copy) == []


@pytest.mark.parametrize("length", [0, 7, 100, -1])
@pytest.mark.parametrize("name", ["shard-00002.safetensors", "cache.safetensors"])
def test_a_truncated_file(copy, name, length):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:length])
    with pytest.raises(ValueError, match=f"{name} is truncated or damaged .* ask the teacher again"):
        TeacherCache(copy)
    assert name in verify_cache(copy)[0]
    if name.startswith("shard"):
        (copy / name).unlink()  # the remedy
        write(str(copy.parent))
        assert verify_cache(copy) == []


@pytest.mark.parametrize("name", ["shard-00000.safetensors", "shard-00005.safetensors", "cache.safetensors"])
def test_one_flipped_byte(copy, name):
    content = (copy / name).read_bytes()
    for place in np.random.default_rng(0).integers(len(content), size=40):
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        (copy / name).write_bytes(flipped)
        with pytest.raises(ValueError, match=name):
            TeacherCache(copy)
        assert name in verify_cache(copy)[0]


def test_files_that_belong_elsewhere(copy):
    shutil.copy(copy / "shard-00001.safetensors", copy / "shard-00002.safetensors")
    with pytest.raises(ValueError, match=r"shard-00002.safetensors .* it says shard '1' where '2' belongs"):
        TeacherCache(copy)
    shutil.copy(copy / "shard-00000.safetensors", copy / "unrelated.safetensors")
    assert len(verify_cache(copy)) == 1
    write(str(copy.parent), compression=Compression())
    (other,) = set(copy.parent.iterdir()) - {copy}
    shutil.copy(other / "cache.safetensors", copy)
    with pytest.raises(ValueError, match=rf"cache.safetensors .* it says cache '{other.name}'"):
        TeacherCache(copy)
    assert "cache.safetensors" in {row["name"]: row["error"] for row in list_caches(copy.parent)}[copy.name]


@pytest.mark.parametrize(("die_in", "at"), [("head_basis", 0), ("os.link", 0), ("_write_shard", 3)])
def test_head_inputs_killed_in_mid_write_and_started_again(tmp_path, die_in, at):
    assert ended(start(write, str(tmp_path), die_in, at, compression=HEAD)) == -signal.SIGKILL
    with pytest.raises(ValueError, match=r"lacks \d of \d shards|cache.safetensors"):
        TeacherCache(folder_of(tmp_path, HEAD))
    write(str(tmp_path), compression=HEAD)
    teacher, _, data, collate, _ = everything(HEAD)
    batch = collate([data[i] for i in range(ROWS)])
    torch.testing.assert_close(
        TeacherCache(folder_of(tmp_path, HEAD))(batch).values, teacher(batch).values, atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("name", ["shard-00001.safetensors", "cache.safetensors"])
def test_head_inputs_stale_or_damaged(tmp_path, name):
    write(str(tmp_path), compression=HEAD)
    folder = folder_of(tmp_path, HEAD)
    assert verify_cache(folder) == []
    with pytest.raises(ValueError, match="something else: teacher"):
        TeacherCache(folder, cache_key(everything(HEAD, seed=1)[0], *everything(HEAD)[1:]))
    content = (folder / name).read_bytes()
    for place in np.random.default_rng(0).integers(len(content), size=40):
        (folder / name).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=name):
            TeacherCache(folder)
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(ValueError, match=f"{name} is truncated or damaged"):
        TeacherCache(folder)
    assert name in verify_cache(folder)[0]


def test_clearing_takes_only_what_is_a_cache(copy):
    size = sum(path.stat().st_size for path in copy.iterdir())
    (copy / "note.txt").write_text("mine")
    assert clear_cache(copy) == size
    assert [path.name for path in copy.iterdir()] == ["note.txt"]
    with pytest.raises(ValueError, match="no cache"):
        clear_cache(copy)


def test_rows_are_mapped_and_not_loaded(tmp_path):
    arrays = {"values": np.zeros((8, 2_000_000), np.float32)}
    teacher_cache.save_arrays(tmp_path / "large.safetensors", arrays, {})
    size, status = arrays["values"].nbytes, Path("/proc/self/status")
    if not status.exists():
        pytest.skip("memory is read from /proc")
    del arrays

    def own() -> int:
        return int(status.read_text().split("RssAnon:")[1].split()[0]) * 1024

    before = own()
    found, _ = teacher_cache.load_arrays(tmp_path / "large.safetensors", {})
    assert found["values"].nbytes == size and own() - before < size / 4
