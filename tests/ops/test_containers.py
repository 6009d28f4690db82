"""The Dockerfile and compose.yaml, as far as that goes without Docker: what they copy is installed, what they start is started."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from capacity import __version__
from capacity.server import STOP_SECONDS
from tests.docs.documents import ROOT
from tests.ops.programs import SECRET
from tests.support.installed import installed
from tests.support.servers import binaries, free_port

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
PORT = "8000"
HEALTHY_SECONDS_MAX = 30.0


def instructions(name: str) -> list[str]:
    """Return the arguments of every instruction of a kind, in order."""
    return re.findall(rf"^ *{name} (.+)$", DOCKERFILE, re.MULTILINE)


def copied() -> list[str]:
    """Return what the image takes from the checkout."""
    lines = [line.split() for line in instructions("COPY") if not line.startswith("--from=")]
    return [source for words in lines for source in words[:-1]]


def health_check(port: int) -> list[str]:
    """Return the command that says how the container does, for another port."""
    (line,) = instructions("HEALTHCHECK")
    command: list[str] = json.loads(line.partition("CMD ")[2])
    return [word.replace(f":{PORT}/", f":{port}/") for word in command]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment in which Capacity was installed as in the image: from the files that it copies alone."""
    context = tmp_path_factory.mktemp("context")
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, context / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, context)
    environment = tmp_path_factory.mktemp("image")
    venv.create(environment, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")  # the locked packages, which the tests have
    locked, ours = (line for line in instructions("RUN") if "/pip install" in line)
    assert locked.endswith(" install --require-hashes --requirement requirements.lock")
    words = shlex.split(ours.partition("/pip ")[2])
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--no-cache-dir", "-q"]
    done = subprocess.run([*pip, *words], cwd=context, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return environment / "bin"


@contextmanager
def started(command: list[str], log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("CAPACITY_", "PYTHON"))}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=others | environ, cwd=log.parent, stdout=output, stderr=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def until_healthy(image: Path, port: int, log: Path) -> None:
    """Wait until the health check of the image says that all is well."""
    program, *arguments = health_check(port)
    deadline = time.monotonic() + HEALTHY_SECONDS_MAX
    while subprocess.run([image / program, *arguments], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, f"not healthy; {log.read_text()[-2000:]}"


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done


def test_the_image_copies_what_the_ignore_file_lets_through() -> None:
    first, *lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*" and {line[1:] for line in lines if line.startswith("!")} == set(copied())
    assert all((ROOT / source).exists() for source in copied())


def test_a_container_is_not_well_before_it_is() -> None:
    program, *arguments = health_check(free_port())
    done = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    assert program == "python" and done.returncode != 0


def test_what_the_image_starts_is_healthy_and_ends_by_its_signal(image: Path, tmp_path: Path) -> None:
    (entrypoint,), (command,), (stop,) = (
        instructions("ENTRYPOINT"),
        instructions("CMD")[-1:],
        instructions("STOPSIGNAL"),
    )
    port, log = free_port(), tmp_path / "log"
    whole: list[str] = [*json.loads(entrypoint), *json.loads(command)]
    program, *arguments = whole
    words = [str(port) if word == PORT else word.replace("0.0.0.0", "127.0.0.1") for word in arguments]
    assert words != arguments
    environ = {"CAPACITY_TOKEN_KEY": SECRET, "CAPACITY_DATA_DIR": str(tmp_path / "data")}
    with started([str(image / program), *words], log, **environ) as process:
        until_healthy(image, port, log)
        process.send_signal(signal.Signals[stop])
        assert process.wait(STOP_SECONDS + 1) == 0


def test_what_compose_starts_works_together(image: Path, tmp_path: Path) -> None:
    store, hubs = COMPOSE["store"], COMPOSE["hubs"]
    store_port, port, log = free_port(), free_port(), tmp_path / "log"
    program, *options = store["command"]
    assert program == "valkey-server"
    run = [binaries()["valkey"], *options, "--port", str(store_port), "--bind", "127.0.0.1"]
    words = [str(port) if word == PORT else word.replace("0.0.0.0", "127.0.0.1") for word in hubs["command"]]
    url = hubs["environment"]["CAPACITY_REDIS_URL"].replace("store:6379", f"127.0.0.1:{store_port}")
    with started(run, tmp_path / "store"):
        environ = {"CAPACITY_TOKEN_KEY": SECRET, "CAPACITY_REDIS_URL": url}
        with started([str(image / "capacity"), *words], log, **environ) as process:
            until_healthy(image, port, log)
            client: Any = redis.Redis(port=store_port)
            expected = {"appendonly": "yes", "maxmemory-policy": "noeviction"}
            assert client.config_get(*expected) == expected
            client.close()
            process.terminate()
            assert process.wait(STOP_SECONDS + 1) == 0


def test_compose_is_valid_and_gives_time_to_drain(tmp_path: Path) -> None:
    program = installed("docker-compose", "docker-compose")
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    (tmp_path / "capacity.env").write_text(f"CAPACITY_TOKEN_KEY={SECRET.replace(' ', '-')}\n")
    done = subprocess.run([program, "config"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services.keys() == {"store", "hubs"}
    assert services["hubs"]["image"] == f"capacity:{__version__}"
    for service in services.values():
        assert int(service["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
