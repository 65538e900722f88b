#!/usr/bin/env bash
# Check the kernels on a GPU and measure them, in ten minutes, on a machine without a network.
#
#   benchmarks/gpu_check.sh wheels FOLDER [3.12]   fetch the packages that such a machine may lack, for its version of
#                                                  Python, on a machine that has a network
#   benchmarks/gpu_check.sh OUT [FOLDER]           run all steps into OUT, with that machine's own python3 and torch
#
# The most valuable steps come first. Each has a time limit. As soon as it has ended, its log is in OUT, and a line in
# OUT/steps.tsv: name, exit status (124: it ran past its limit), seconds. Without a GPU the steps run on the CPU, small,
# with Triton's interpreter and three times the limits: that shows that the script works, but says nothing about speed.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

# Packages that the import needs, and that are often not installed along with torch. Only pydantic-core is for one
# version of Python.
lacking=(jsonargparse docstring-parser typeshed-client importlib-resources platformdirs lazy-loader)
lacking+=(pydantic pydantic-core annotated-types typing-inspection)

if [ "${1:-}" = wheels ]; then
  folder=${2:?"usage: benchmarks/gpu_check.sh wheels FOLDER"}
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder" --constraint constraints.txt \
    --implementation cp --python-version "${3:-3.12}" --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 "${lacking[@]}" || exit
  du -sh "$folder"
  exit
fi

out=${1:?"usage: benchmarks/gpu_check.sh OUT [FOLDER with wheels]"}
wheels=${2:-}
mkdir -p "$out"
out=$(cd "$out" && pwd)
: > "$out/steps.tsv"
if [ -n "$wheels" ]; then
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$out/site" "$wheels"/*.whl || exit
  export PYTHONPATH="$out/site:${PYTHONPATH:-}"
fi
export PYTHONPATH="$PWD:${PYTHONPATH:-}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
patience=1
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  export TRITON_INTERPRET=1
  patience=3  # a CPU measures memory in processes of their own, which import everything anew
fi

failed=0
step() {  # step NAME SECONDS COMMAND...
  local name=$1 limit=$(($2 * patience)) begin=$SECONDS status
  shift 2
  echo "== $name"
  timeout "$limit" "$@" 2>&1 | tee "$out/$name.log"
  status=${PIPESTATUS[0]}
  [ "$status" = 0 ] || failed=1
  printf '%s\t%s\t%s\n' "$name" "$status" "$((SECONDS - begin))" >> "$out/steps.tsv"
}
measure() {  # measure NAME SECONDS
  step "$1" "$2" "$python" benchmarks/gpu_measures.py "$1" --out "$out/$1"
}

step facts 30 "$python" benchmarks/gpu_measures.py facts --out "$out/facts"
step tests 150 "$python" -m pytest tests/gpu --noconftest -o addopts= --import-mode=importlib -q -p no:cacheprovider
measure layer 100
measure encoder 80
measure memory 40
measure forms 40
measure compile 60
measure choice 40
measure profile 40

echo
cat "$out/steps.tsv"
exit "$failed"
