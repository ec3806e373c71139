#!/usr/bin/env bash
# Every check of the project, part by part; goes on after a failure and names the parts that failed at the end.
# BIN is the folder of the environment's commands, WORKERS how many processes share the queue. Options are pytest's:
# --changed leaves out notebooks and tests that passed and reach nothing that has changed since.
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
  cp -r settings.ini nbs blog "$copy" && (cd "$copy" && nbdev_export) && diff -r -x __pycache__ -x _modidx.py blog "$copy/blog" ||
    { echo "blog/ differs from what nbs/ exports: run nbdev_export and commit"; return 1; }
}

notebooks_clean() {
  (cd "$copy" && nbdev_clean) && diff -r nbs "$copy/nbs" >/dev/null ||
    { diff -rq nbs "$copy/nbs"; echo "notebooks carry metadata that changes by itself: run nbdev_clean"; return 1; }
}

style() { ruff check . && ruff format --check .; }

queue() { pytest -q -n "${WORKERS:-2}" --dist loadgroup --no-loadscope-reorder "$@"; }

part "export in sync" export_in_sync
part "notebooks clean" notebooks_clean
part "style" style
part "notebooks at the smoke preset, and tests" queue "$@"

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
