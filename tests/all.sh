#!/usr/bin/env bash
# Every check of the project, part by part; goes on after a failure and names the parts that failed at the end.
# BIN is the folder of the environment's commands.
set -u
cd "$(dirname "$0")/.."
BIN=$(cd "${BIN:-.venv/bin}" && pwd)
export PATH="$BIN:$PATH" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
unset HF_HUB_DISABLE_PROGRESS_BARS HF_DATASETS_DISABLE_PROGRESS_BARS  # what the bars show is tested
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
failed=()

part() {
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  if "$@"; then echo "   ok, $((SECONDS - start)) s"; else echo "   FAILED, $((SECONDS - start)) s"; failed+=("$name"); fi
}

export_in_sync() {
  cp -r settings.ini nbs blog "$copy" && (cd "$copy" && nbdev_export) && diff -r -x __pycache__ blog "$copy/blog" ||
    { echo "blog/ differs from what nbs/ exports: run nbdev_export and commit"; return 1; }
}

notebooks_clean() {
  (cd "$copy" && nbdev_clean) && diff -r nbs "$copy/nbs" >/dev/null ||
    { diff -rq nbs "$copy/nbs"; echo "notebooks carry metadata that changes by itself: run nbdev_clean"; return 1; }
}

style() { ruff check . && ruff format --check .; }

# Notebooks share two processes; the one that tests process-wide logging gets a process of its own.
notebook_cells() (
  export BLOG_PRESET=smoke OMP_NUM_THREADS=1
  nbdev_test --path nbs --skip_file_re '^([_.]|transformers_logging)' --n_workers 2 --timing &&
    nbdev_test --path nbs/transformers_logging.ipynb --n_workers 0
)

part "export in sync" export_in_sync
part "notebooks clean" notebooks_clean
part "style" style
part "notebook cells at the smoke preset" notebook_cells
part "pytest" pytest -q tests

skipped=""
command -v chromium google-chrome google-chrome-stable chromium-browser >/dev/null ||
  skipped="NOT TESTED: the pages in a browser, as there is none (apt install chromium)"

echo
if [ -n "$skipped" ]; then echo "$skipped"; fi
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "all parts passed in $SECONDS s${skipped:+, but not every test ran}"
