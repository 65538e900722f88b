#!/usr/bin/env bash
# Builds the image and holds it to what README.md beside this file says of it: a line per check, and
# exit status 1 if one failed. Needs no GPU; 20 GB of disk, and behind the build the time of three demos.
#
#   docker/verify.sh
#
# By environment:
#   ENGINE       what runs it, docker or podman; by default the one that answers
#   BUILDER      what builds it, with options, as in "buildah bud --network host"; by default
#                "$ENGINE build". Empty: nothing is built, IMAGE is there
#   BASE         another base than the Dockerfile's
#   TORCH_INDEX  where another build of torch is, such as one without CUDA
#   IMAGE        the name of the image; by default wemoe-pl
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
server=(serve runs/whole --host 0.0.0.0)
outsider=12345:12345  # a user that the image does not know
answers=$(mktemp)
failures=0

remove() {  # what a check may have left running
  "$ENGINE" rm --force --volumes "$container" > /dev/null 2>&1 || true
}

cleanup() {
  remove
  rm -f "$answers"
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

without_rights() {  # without_rights OPTION… IMAGE ARGUMENT…: and without anything to write to
  "$ENGINE" run --pull never --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges "$@"
}

confined() {  # confined OPTION… IMAGE ARGUMENT…: without network, too
  remove
  without_rights --name "$container" --network none --volume "$volume:/workspace/runs" "$@"
}

inside() {  # inside PROGRAM ARGUMENT…: another program than wemoe-pl
  confined --rm --entrypoint "$1" "$IMAGE" "${@:2}"
}

config() {  # config FIELD: what the image says of how it is run
  "$ENGINE" image inspect --format "{{json .Config.$1}}" "$IMAGE"
}

is_built() {
  local chosen=() name
  for name in BASE TORCH_INDEX; do
    [[ -z ${!name:-} ]] || chosen+=(--build-arg "$name=${!name}")
  done
  "${builder[@]}" "${chosen[@]}" --file docker/Dockerfile --tag "$IMAGE" .
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
        assert version(name).partition("+")[0] == tested, f"{name} is {version(name)}, and not {tested}"
    except PackageNotFoundError:
        pass'
}

has_no_cuda() {
  [[ $(inside python -c 'import torch; print(torch.version.cuda)' 2> /dev/null) == None ]]
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

is_served() {  # is_served OPTION…: and said to be well by the command that README.md gives Docker
  local deadline=$((SECONDS + 300)) health
  health=$(sed -n "s/^ *--health-cmd '\(.*\)' .*/\1/p" docker/README.md)
  [[ -n $health ]] || return
  remove
  without_rights --detach --name "$container" --volume "$volume:/workspace/runs:ro" "$@" \
    "$IMAGE" "${server[@]}" || return
  until "$ENGINE" exec "$container" sh -c "$health"; do
    ((SECONDS < deadline)) && [[ $("$ENGINE" inspect --format '{{.State.Running}}' "$container") == true ]] || {
      "$ENGINE" logs "$container"
      return 1
    }
    sleep 1
  done
}

beside() {  # beside PROGRAM: of Python, in another container in the network of the one that serves
  without_rights --rm --network "container:$container" --volume "$volume:/workspace/runs:ro" \
    --entrypoint python "$IMAGE" -c "$1"
}

answers_as_predict_does() {
  beside '
import csv, json, subprocess
from pathlib import Path
from urllib.request import Request, urlopen

def ask(path, query=""):
    with urlopen(Request("http://127.0.0.1:8000/predict" + query, path.read_bytes(), {"Content-Type": "image/png"})) as answer:
        return json.load(answer)

images = sorted(Path("runs/whole/images").glob("*.png"))  # each named by its task and its class
command = ["wemoe-pl", "predict", "runs/whole", *images]
rows = csv.DictReader(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())
for path, row in zip(images, rows, strict=True):
    found = {key: value or "" for key, value in ask(path).items()}  # predict writes nothing for none of the tasks
    assert path == Path(row["image"]), (path, row)
    assert (found["task"], found["class"]) == (row["task"], row["class"]), (found, row)
    assert abs(float(found["probability"] or 0) - float(row["probability"] or 0)) < 1e-3, (found, row)
asked = [(path, *path.stem.split("_", 1)) for path in images]
right = sum(ask(path, f"?task={task}")["class"].replace(" ", "-") == name for path, task, name in asked)
assert right > 0.75 * len(images), f"{right} of {len(images)} are right"
print(right, "of", len(images), "are right")'
}

answers_what_it_has_taken_and_stops() {
  local deadline=$((SECONDS + 300)) client
  beside '
import socket, time
from pathlib import Path

image = Path("runs/whole/images/mnist_2.png").read_bytes()
half = len(image) // 2
head = "POST /predict?task=mnist HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
head += f"Content-Length: {len(image)}\r\nExpect: 100-continue\r\n\r\n"
asking = socket.create_connection(("127.0.0.1", 8000), timeout=300)
asking.sendall(head.encode())
assert b" 100 " in asking.recv(4096)  # the server reads: it has taken the request
asking.sendall(image[:half])
print("taken", flush=True)
while True:  # until it takes no others, because it is to stop
    try:
        socket.create_connection(("127.0.0.1", 8000), timeout=300).close()
    except ConnectionRefusedError:
        break
    time.sleep(0.05)
asking.sendall(image[half:])
print(*iter(lambda: asking.recv(65536).decode(), ""))' > "$answers" 2>&1 &
  client=$!
  until grep -q taken "$answers"; do
    ((SECONDS < deadline)) && kill -0 "$client" || return
    sleep 0.2
  done
  stops && wait "$client" && cat "$answers" || return
  grep -q "HTTP/1.1 200" "$answers" && grep -q '"class":"2"' "$answers"
}

is_published() {  # by the documented command, on the loopback of this machine
  local address
  is_served --publish 127.0.0.1::8000 || return
  address=$("$ENGINE" port "$container" 8000) || return
  [[ $address == 127.0.0.1:* ]] || return
  exec 3<> "/dev/tcp/127.0.0.1/${address##*:}"
  printf 'GET /health HTTP/1.0\r\n\r\n' >&3
  head -n 1 <&3 | grep " 200 "
}

((${#builder[@]})) && check "it is built" is_built
check "it runs as user 1000, not as root" test "$(config User)" = '"1000:1000"'
check "it has no key, and no setting of the builder" has_no_key_or_setting_of_the_builder
check "it says the version that its label says" says_its_version
check "it says what it can do" confined --rm "$IMAGE"
check "its packages are those that were tested" has_the_tested_packages
if has_no_cuda; then
  echo "skipped its compiler builds what starts Triton's kernels: its torch is one without CUDA"
else
  check "its compiler builds what starts Triton's kernels" compiles_what_starts_kernels
fi
check "it adapts the miniature, confined" confined --rm "$IMAGE" "${demo[@]}" runs/whole
check "it stops on SIGTERM with 143 before it has begun, by --init" stops_at_once
check "it stops on SIGTERM with 143 in the middle, as a user from outside" stops_in_the_middle
check "it goes on, and ends as if it had not been stopped" ends_as_if_it_had_not_been_stopped
check "it serves, confined, as a user from outside, and says that it is well" \
  is_served --network none --user "$outsider"
check "it answers for an image as predict does" answers_as_predict_does
check "it stops serving on SIGTERM with 143, and answers what it has taken" answers_what_it_has_taken_and_stops
check "it serves on a port of this machine's loopback" is_published

((failures == 0)) || { echo "$failures failed"; exit 1; }
