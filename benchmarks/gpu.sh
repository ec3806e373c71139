#!/bin/sh
# The published run on one GPU: steps of every kind in turns, then 3,022 steps of 64 nouns in bfloat16. The aim is 60
# seconds for the run. Writes results/forty-minutes/gpu-*.json: commit them. Under ten minutes on a current card.
#
#     sh benchmarks/gpu.sh          all of it
#     sh benchmarks/gpu.sh smoke    the same with tiny sizes, on any machine, in seconds; its records are thrown away
set -e
cd "$(dirname "$0")/.."
preset=${1:-gpu}
[ $# -eq 0 ] || shift
[ -x .venv/bin/blog ] || { echo "benchmarks/gpu.sh: run 'make run' once, which installs the package" >&2; exit 1; }
[ "$preset" != gpu ] || .venv/bin/python -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'benchmarks/gpu.sh: torch sees no GPU here')"
exec .venv/bin/blog run studies/forty_minutes --preset "$preset" "$@"
