"""The distribution: built from the sources alone, installed without a network, and usable outside a checkout."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
USE = """
import blog, blog.cli.commands
from blog.data.worlds import intents, nouns, reviews
print(blog.__file__)
"""


def test_a_source_distribution_can_be_installed_with_its_data(tmp_path):
    files = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard", "blog", "*.md", "*.ini", "*.in", "setup.py"],
        cwd=ROOT,
        text=True,
    )
    for name in files.split():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes((ROOT / name).read_bytes())
    built = subprocess.run(
        [sys.executable, "-c", BUILD, tmp_path], cwd=tmp_path / "src", capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as found:
        names = {name.partition("/")[2] for name in found.getnames()}
    assert {"settings.ini", "README.md", "setup.py"} <= names
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", tmp_path / "out", archive], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lists = {path.name for path in (ROOT / "blog/data/worlds").glob("*.json")}
    assert lists and {path.name for path in (tmp_path / "out/blog/data/worlds").glob("*.json")} == lists
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "out")}
    used = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert used.stdout.strip() == str(tmp_path / "out/blog/__init__.py"), used.stderr
