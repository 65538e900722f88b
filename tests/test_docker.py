"""The image: what can be said of its files without building it, which docker/verify.sh does."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise, takewhile
from pathlib import Path
from threading import Thread

import pytest
import yaml

from wemoe_pl import __version__
from wemoe_pl.cli.help import parser_of
from wemoe_pl.cli.main import main

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
VERIFY = (DOCKER / "verify.sh").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, such as ("USER", "1000:1000")."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line)
    return [(name, " ".join(rest.split())) for name, rest in lines]


def only(name: str) -> str:
    """What the one instruction of this name says."""
    [found] = [rest for given, rest in instructions() if given == name]
    return found


def copied() -> set[str]:
    """All that comes from the repository."""
    copies = (shlex.split(rest)[:-1] for name, rest in instructions() if name == "COPY")
    return {source for sources in copies if "--from=wheel" not in sources for source in sources}


# The Dockerfile


def test_hadolint_finds_nothing_to_say() -> None:
    beside_python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    hadolint = shutil.which("hadolint", path=beside_python) or pytest.skip("there is no hadolint")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_any_builder_takes_it() -> None:
    flags = {
        flag
        for _, rest in instructions()
        for flag in takewhile(lambda word: word.startswith("--"), rest.split())
    }
    assert flags == {"--from=wheel"}
    assert not re.search(r"<<|^# *(syntax|check) *=", DOCKERFILE, re.MULTILINE)


def test_the_base_is_chosen_outside() -> None:
    assert instructions()[0] == ("ARG", "BASE=python:3.11-slim-bookworm")
    stages = [rest for name, rest in instructions() if name == "FROM"]
    assert stages == ["${BASE} AS wheel", "${BASE}"]


def test_a_change_of_the_source_leaves_the_layer_of_the_requirements_as_it_is() -> None:
    steps = instructions()
    last_stage = steps[len(steps) - [name for name, _ in steps[::-1]].index("FROM") :]
    [installs] = [i for i, (_, rest) in enumerate(last_stage) if "--requirement" in rest]
    copies = [rest for name, rest in last_stage[:installs] if name == "COPY"]
    assert copies == ["pyproject.toml constraints.txt ./"]


def test_it_installs_what_the_package_requires() -> None:
    [program] = re.findall(r"python3 -c '([^']*)' > requirements.txt", DOCKERFILE)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    to_serve = PROJECT["optional-dependencies"]["serve"]
    assert done.stdout.splitlines() == [*PROJECT["dependencies"], *to_serve]


@pytest.mark.parametrize(
    ("index", "torch_first"),
    [
        ("", []),
        ("https://example.org/whl/cpu", ["--no-deps --index-url https://example.org/whl/cpu"]),
    ],
)
def test_another_build_of_torch_comes_from_its_index_and_nothing_else_does(
    index: str, torch_first: list[str], tmp_path: Path
) -> None:
    [step] = [rest for name, rest in instructions() if name == "RUN" and "--requirement" in rest]
    pip = tmp_path / "pip"
    pip.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n')
    pip.chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    step = step.replace("python3 -m venv /venv", "true").replace("/venv/bin/pip", str(pip))
    step = step.replace("python3", sys.executable)
    subprocess.run(["sh", "-ec", step], cwd=tmp_path, env={"TORCH_INDEX": index}, check=True)
    given = "--constraint constraints.txt"
    assert (tmp_path / "calls").read_text().splitlines() == [
        *(f"install --no-cache-dir {first} {given} torch torchvision" for first in torch_first),
        f"install --no-cache-dir --requirement requirements.txt {given}",
    ]
    assert ("ARG", "TORCH_INDEX=") in instructions()
    assert "TORCH_INDEX" not in only("ENV")


def test_the_builder_sees_what_is_copied_and_nothing_else() -> None:
    first, *rest = (ROOT / ".dockerignore").read_text().splitlines()[1:]
    assert first == "*"
    assert {line[1:] for line in rest if line.startswith("!")} == copied()
    assert all((ROOT / source).exists() for source in copied())


def test_it_is_not_root_and_its_program_gets_the_signals() -> None:
    assert only("USER") == "1000:1000"
    assert json.loads(only("ENTRYPOINT")) == ["wemoe-pl"]
    assert json.loads(only("CMD")) == ["--help"]


def test_jobs_are_not_called_ill_and_no_port_is_opened_without_being_named() -> None:
    assert not {"HEALTHCHECK", "EXPOSE"} & {name for name, _ in instructions()}


def test_its_labels_are_true() -> None:
    assert only("LABEL").count("org.opencontainers.image.") == 4
    assert f'description="{PROJECT["description"]}"' in only("LABEL")
    assert f'licenses="{PROJECT["license"]}"' in only("LABEL")
    assert ("ARG", f"VERSION={__version__}") in instructions()


def test_keys_come_from_outside() -> None:
    given = " ".join(rest for name, rest in instructions() if name in ("ARG", "ENV"))
    assert not re.search(r"WANDB|HF_|TOKEN|KEY|SECRET|PASSWORD", given)


# The compose file


def test_compose_takes_it() -> None:
    docker = shutil.which("docker") or pytest.skip("the docker client is not installed")
    if subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("the docker client has no compose")
    command = f"{docker} compose --file compose.yaml --profile cpu --profile serve config"
    done = subprocess.run(shlex.split(command), cwd=DOCKER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == {"cpu", "gpu", "serve"}


def test_one_service_reserves_gpus_and_the_other_is_a_profile() -> None:
    gpu, cpu = COMPOSE["services"]["gpu"], COMPOSE["services"]["cpu"]
    [devices] = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert devices == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert (cpu["profiles"], "profiles" in gpu, "deploy" in cpu) == (["cpu"], False, False)


def test_one_service_serves_this_machine_alone_without_rights_or_keys() -> None:
    serve = COMPOSE["services"]["serve"]
    assert serve["profiles"] == ["serve"]
    assert serve["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]
    assert serve["env_file"] == []
    assert (serve["read_only"], serve["cap_drop"]) == (True, ["ALL"])
    assert serve["security_opt"] == ["no-new-privileges:true"]
    volumes = {volume.rpartition("/")[2] for volume in serve["volumes"]}
    assert volumes == {"cache", "data:ro", "runs:ro"}
    verb, *arguments = serve["command"]
    options = parser_of(verb).parse_args(arguments)
    assert (options.host, options.port) == ("0.0.0.0", 8000)


@pytest.mark.parametrize("service", ["cpu", "gpu"])
def test_every_service_has_shared_memory_volumes_and_the_keys_if_there_are_any(
    service: str,
) -> None:
    job = COMPOSE["services"][service]
    assert job["shm_size"] in ("1gb", "8gb")
    folders = re.findall(r":(/[\w/]+)", " ".join(job["volumes"]))
    assert folders == json.loads(only("VOLUME"))
    assert job["env_file"] == [{"path": "keys.env", "required": False}]
    assert "/docker/keys.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert job["init"]


# docker/README.md


def commands() -> Iterator[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", (DOCKER / "README.md").read_text(), re.DOTALL)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        yield shlex.split(line)


JOBS = [words for words in commands() if words[:2] in (["docker", "run"], ["docker", "compose"])]


def test_the_readme_builds_what_it_runs() -> None:
    assert shlex.split("docker build --file docker/Dockerfile --tag wemoe-pl .") in commands()
    assert COMPOSE["services"]["gpu"]["image"] == "wemoe-pl"


@pytest.mark.parametrize("words", JOBS, ids=" ".join)
def test_the_readme_runs_commands_that_are_understood(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if "compose" in words:
        [service] = COMPOSE["services"].keys() & words
        arguments = words[words.index(service) + 1 :]
    else:
        arguments = words[words.index("wemoe-pl") + 1 :]
        volumes = {v.split(":")[1] for o, v in pairwise(words) if o == "--volume"}
        assert volumes <= set(json.loads(only("VOLUME")))
    if arguments[:1] == ["serve"]:
        options = parser_of("serve").parse_args(arguments[1:])
        assert (options.run, options.host) == ("/workspace/runs/demo", "0.0.0.0")
        assert "/workspace/runs:ro" in " ".join(words)
        published = [value for option, value in pairwise(words) if option == "--publish"]
        assert published == ([] if "--network" in words else [f"127.0.0.1:8000:{options.port}"])
    elif arguments:
        monkeypatch.setattr(sys, "argv", ["wemoe-pl"])
        with pytest.raises(SystemExit) as finished:
            main([*arguments, "--print_config"])
        assert finished.value.code == 0


@contextmanager
def answering(status: int) -> Iterator[int]:
    """Run a server on the loopback whose health is this status, and give its port."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def health_commands() -> list[list[str]]:
    """Return what asks whether a server is well, of the README and of the compose file."""
    [words] = [words for words in JOBS if "--health-cmd" in words]
    test = COMPOSE["services"]["serve"]["healthcheck"]["test"]
    return [shlex.split(test) for test in (words[words.index("--health-cmd") + 1], test)]


@pytest.mark.parametrize("command", health_commands(), ids=["README", "compose"])
@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False)])
def test_a_server_is_asked_whether_it_is_well(command: list[str], status: int, well: bool) -> None:
    python, option, program = command
    assert (python, option) == ("python", "-c")
    with answering(status) as port:
        asked = program.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        done = subprocess.run([sys.executable, "-c", asked], capture_output=True)
    assert asked != program
    assert (done.returncode == 0) == well


# docker/verify.sh


def test_verify_asks_as_the_readme_does() -> None:
    [line] = [line for line in VERIFY.splitlines() if "health=$(sed" in line]
    done = subprocess.run(
        ["bash", "-c", f'{line}; printf %s "$health"'], cwd=ROOT, capture_output=True, text=True
    )
    assert shlex.split(done.stdout) == health_commands()[0]


def test_verify_builds_with_what_the_environment_names(tmp_path: Path) -> None:
    builder = tmp_path / "builder"
    builder.write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/built\n')
    builder.chmod(0o755)
    verify(tmp_path, ENGINE="podman", BUILDER=f"{builder} bud", BASE="a", TORCH_INDEX="b")
    expected = "bud --build-arg BASE=a --build-arg TORCH_INDEX=b --file docker/Dockerfile"
    assert (tmp_path / "built").read_text() == f"{expected} --tag wemoe-pl .\n"


def verify(programs: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script where `docker` and `podman` are programs that fail."""
    for engine in ("docker", "podman"):
        (programs / engine).write_text("#!/bin/sh\necho no engine\nexit 1\n")
        (programs / engine).chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"} | environment
    return subprocess.run(
        ["bash", DOCKER / "verify.sh"], env=environment, capture_output=True, text=True, timeout=60
    )


def test_verify_says_that_there_is_no_engine(tmp_path: Path) -> None:
    done = verify(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Neither docker nor podman answers" in done.stderr


def test_verify_fails_when_its_checks_do(tmp_path: Path) -> None:
    done = verify(tmp_path, ENGINE="podman")
    results = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert done.returncode == 1
    assert all(line.startswith("failed  ") for line in results[:-1])
    assert results[-1] == f"{len(results) - 1} failed"
    assert "        no engine" in done.stdout
