#!/usr/bin/env bash
# Builds the image and holds it to what README.md beside this file says of it: a line per check, and
# exit status 1 if one failed. Needs no GPU; 20 GB of disk, and behind the build the time of three demos.
#
#   docker/verify.sh
#
# By environment:
#   ENGINE      what runs it, docker or podman; by default the one that answers
#   BUILDER     what builds it, with options, as in "buildah bud --network host"; by default
#               "$ENGINE build". Empty: nothing is built, IMAGE is there
#   BASE        another base than the Dockerfile's
#   IMAGE       the name of the image; by default wemoe-pl
set -euo pipefail
cd "$(dirname "$0")/.."

engine() {  # the first that answers
  for candidate in docker podman; do
    if "$candidate" info > /dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  echo "Neither docker nor podman answers: start one, or name another with ENGINE." >&2
  return 1
}

ENGINE=${ENGINE:-$(engine)}
IMAGE=${IMAGE:-wemoe-pl}
read -ra builder <<< "${BUILDER-$ENGINE build}"
volume=wemoe-pl-verify-$$
container=wemoe-pl-verify-$$
demo=(fit --config adapt_miniature.yaml --out)
outsider=12345:12345  # a user that the image does not know
failures=0

remove() {  # what a check may have left running
  "$ENGINE" rm --force --volumes "$container" > /dev/null 2>&1 || true
}

cleanup() {
  remove
  "$ENGINE" volume rm --force "$volume" > /dev/null 2>&1 || true
}
trap cleanup EXIT

check() {  # check NAME COMMAND…: what a command prints is shown if it fails
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok      $name"
  else
    echo "failed  $name"
    tail -n 20 <<< "$output" | sed 's/^/        /'
    failures=$((failures + 1))
  fi
}

confined() {  # confined OPTION… IMAGE ARGUMENT…: without network, rights, or anything to write to
  remove
  "$ENGINE" run --pull never --name "$container" --network none --read-only --tmpfs /tmp \
    --cap-drop ALL --security-opt no-new-privileges --volume "$volume:/workspace/runs" "$@"
}

inside() {  # inside PROGRAM ARGUMENT…: another program than wemoe-pl
  confined --rm --entrypoint "$1" "$IMAGE" "${@:2}"
}

config() {  # config FIELD: what the image says of how it is run
  "$ENGINE" image inspect --format "{{json .Config.$1}}" "$IMAGE"
}

is_built() {
  local base=()
  [[ -z ${BASE:-} ]] || base=(--build-arg "BASE=$BASE")
  "${builder[@]}" "${base[@]}" --file docker/Dockerfile --tag "$IMAGE" .
}

has_no_key_or_setting_of_the_builder() {
  local environment files
  environment=$(config Env) || return
  files=$("$ENGINE" run --rm --pull never --network none --user 0 --entrypoint find "$IMAGE" \
    / -xdev \( -name pip.conf -o -name .netrc -o -name '*.env' \)) || return
  echo "$files"
  [[ -z $files ]] && ! grep -E '"(WANDB|HF|PIP)_|TOKEN|SECRET|PASSWORD' <<< "$environment"
}

says_its_version() {
  local version
  version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' wemoe_pl/__init__.py)
  [[ $(confined --rm "$IMAGE" --version) == "wemoe-pl $version" ]] \
    && [[ $(config Labels) == *"\"org.opencontainers.image.version\":\"$version\""* ]]
}

has_the_tested_packages() {
  inside python -m pip check && inside python -c '
from importlib.metadata import PackageNotFoundError, version
for line in open("/requirements/constraints.txt"):
    name, tested = line.strip().split("==")
    try:
        assert version(name) == tested, f"{name} is {version(name)}, and not {tested}"
    except PackageNotFoundError:
        pass'
}

compiles_what_starts_kernels() {
  inside python -c '
import subprocess, sysconfig
from pathlib import Path
import triton
nvidia = Path(triton.__file__).parent / "backends/nvidia"
headers = (nvidia / "include", sysconfig.get_path("include"))
subprocess.run(["gcc", "-c", nvidia / "driver.c", "-o", "/tmp/driver.o", *(f"-I{h}" for h in headers)], check=True)'
}

stops() {  # with the status of a program that SIGTERM has ended
  "$ENGINE" stop --time 60 "$container" && "$ENGINE" logs "$container" || return
  [[ $("$ENGINE" wait "$container") == 143 ]]
}

stops_at_once() {
  confined --detach --init "$IMAGE" "${demo[@]}" runs/begun && stops
}

stops_in_the_middle() {
  local deadline=$((SECONDS + 900))
  confined --detach --user "$outsider" "$IMAGE" "${demo[@]}" runs/stopped || return
  until "$ENGINE" exec "$container" test -e runs/stopped/checkpoints/last.ckpt; do  # of half the steps
    ((SECONDS < deadline)) || return
    sleep 1
  done
  stops
}

ends_as_if_it_had_not_been_stopped() {
  confined --rm --user "$outsider" "$IMAGE" "${demo[@]}" runs/stopped 2>&1 | grep "Going on from" \
    && inside python -c '
import json
whole, stopped = (json.load(open(f"runs/{run}/results.json")) for run in ("whole", "stopped"))
assert whole["accuracy"] == stopped["accuracy"], (whole["accuracy"], stopped["accuracy"])'
}

((${#builder[@]})) && check "it is built" is_built
check "it runs as user 1000, not as root" test "$(config User)" = '"1000:1000"'
check "it has no key, and no setting of the builder" has_no_key_or_setting_of_the_builder
check "it says the version that its label says" says_its_version
check "it says what it can do" confined --rm "$IMAGE"
check "its packages are those that were tested" has_the_tested_packages
check "its compiler builds what starts Triton's kernels" compiles_what_starts_kernels
check "it adapts the miniature, confined" confined --rm "$IMAGE" "${demo[@]}" runs/whole
check "it stops on SIGTERM with 143 before it has begun, by --init" stops_at_once
check "it stops on SIGTERM with 143 in the middle, as a user from outside" stops_in_the_middle
check "it goes on, and ends as if it had not been stopped" ends_as_if_it_had_not_been_stopped

((failures == 0)) || { echo "$failures failed"; exit 1; }
