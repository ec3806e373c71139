"""Caches of teacher logits and run records under kills, damage, rivals and full disks: the same content, or a sentence.

BLOG_LONG_FAULTS takes many more moments and damages.
"""

import random
import shutil
import time
from pathlib import Path

import jobs
import pytest
from kills import DAMAGES, LONG, Run, damages, ended, killed
from safetensors import safe_open

from blog.core.records import read_records
from blog.teachers.cache import TeacherCache, verify_cache


def contents(folder: Path) -> dict[str, tuple]:
    "What the files of caches say and hold; safetensors puts what a header says in any order."
    found = {}
    for path in folder.glob("*/[!.]*"):  # what a killed process has half-written stays, hidden
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name).tobytes() for name in file.keys()}
            found[path.relative_to(folder).as_posix()] = (file.metadata(), arrays)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[dict, int, Path]:
    "What a cache is like that was written in peace, how many file events that takes, and its folder."
    folder = tmp_path_factory.mktemp("alone") / "caches"
    run = ended(jobs.cached, str(folder), folder=folder)
    (cache,) = folder.iterdir()
    return contents(folder), run.events(), cache


def the_same(folder: Path, alone: tuple) -> None:
    assert contents(folder) == alone[0]
    assert len(TeacherCache(folder / alone[2].name)) == len(TeacherCache(alone[2]))


def test_killed_at_any_moment_a_cache_becomes_the_same(alone, tmp_path):
    random.seed(1)
    moments = [{"at": random.randint(1, alone[1])} for _ in range(40 if LONG else 5)]
    moments += [{"after": random.uniform(0.02, 0.5)} for _ in range(20 if LONG else 2)]
    for number, moment in enumerate(moments):
        folder = tmp_path / str(number)
        killed(jobs.cached, str(folder), folder=folder, **moment)
        ended(jobs.cached, str(folder), folder=folder)
        the_same(folder, alone)


def test_each_damaged_file_is_refused_by_name_and_made_again_without_it(alone, tmp_path):
    for number, (file, _) in enumerate(damages(alone[2])):
        for damage in DAMAGES:
            cache = shutil.copytree(alone[2], tmp_path / f"{number} {damage}" / alone[2].name)
            DAMAGES[damage](cache / file)
            assert [fault.startswith(f"{cache / file} is ") for fault in verify_cache(cache)] == [True], (file, damage)
            with pytest.raises(ValueError, match=file):
                TeacherCache(cache)


def test_a_damaged_cache_is_whole_again_when_the_file_is_gone(alone, tmp_path):
    shard = sorted(path.name for path in alone[2].iterdir())[2]
    cache = shutil.copytree(alone[2], tmp_path / "caches" / alone[2].name)
    DAMAGES["halved"](cache / shard)
    run = Run(jobs.cached, str(cache.parent), folder=cache.parent)
    assert run.end() == 1 and f"{cache / shard} is truncated or damaged" in run.said()
    (cache / shard).unlink()
    ended(jobs.cached, str(cache.parent), folder=cache.parent)
    the_same(cache.parent, alone)


def test_several_at_once_write_one_cache(alone, tmp_path):
    for number, delay in enumerate((0, 0.05, 0.2, 0.4) if LONG else (0.05,)):
        folder = tmp_path / str(number)
        runs = []
        for log in ("one", "two", "three"):
            runs.append(Run(jobs.cached, str(folder), folder=folder, log=log))
            time.sleep(delay)
        assert [run.end() for run in runs] == [0, 0, 0], [run.said() for run in runs]
        the_same(folder, alone)


def test_one_is_killed_while_another_writes(alone, tmp_path):
    other = Run(jobs.cached, str(tmp_path / "caches"), folder=tmp_path / "caches", log="other")
    killed(jobs.cached, str(tmp_path / "caches"), folder=tmp_path / "caches", at=alone[1] // 2)
    assert other.end() == 0, other.said()
    the_same(tmp_path / "caches", alone)


def test_without_room_a_cache_fails_and_goes_on_when_there_is_some(alone, tmp_path):
    sizes = sorted({path.stat().st_size for path in alone[2].iterdir()})
    for number, most in enumerate(sizes if LONG else sizes[-1:]):
        folder = tmp_path / str(number)
        run = Run(jobs.cached, str(folder), folder=folder, most=most - 1)
        assert run.end() == 1 and run.said().strip().splitlines()[-1]
        ended(jobs.cached, str(folder), folder=folder)
        the_same(folder, alone)


def found(folder: Path) -> list[tuple]:
    return [
        (record["summary"], record["config"], record["outcomes"]["rows"])
        for record in read_records("faults", root=folder)
    ]


def test_killed_at_any_moment_a_record_is_the_one_before_or_the_new_one(tmp_path):
    run = ended(jobs.recorded, str(tmp_path / "alone"), folder=tmp_path / "alone")
    expected, events = found(tmp_path / "alone"), run.events()
    assert len(expected) == 1
    random.seed(2)
    moments = range(1, events + 1) if LONG else sorted(random.sample(range(1, events + 1), 6))
    for at in moments:
        for before in (False, True):
            folder = tmp_path / f"{at} {before}"
            if before:
                shutil.copytree(tmp_path / "alone", folder)
            killed(jobs.recorded, str(folder), folder=folder, at=at)
            ended(jobs.recorded, str(folder), folder=folder)
            assert found(folder) == expected
