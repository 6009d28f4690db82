"""What is handed out: the wheel with its pages and scripts, the lock files, the Procfile, the Makefile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from capacity import __version__, cli
from tests.ops.programs import Program, status_of

ROOT = Path(cli.__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["requirements.lock", "requirements-dev.lock"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, so that neither lacks anything."""
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel, and of the checkout only what the wheel depends on."""
    environment = tmp_path_factory.mktemp("installed")
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    # The packages of the environment that runs the tests. A .pth of theirs, as of a checkout in place, has no effect.
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "-q", str(wheel)],
        check=True,
    )
    return environment / "bin"


def test_the_wheel_has_pages_scripts_and_plans(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    pages = {f"capacity/static/{path.relative_to(ROOT / 'static')}" for path in (ROOT / "static").rglob("*.*")}
    package = ROOT / "capacity"
    others = {f"capacity/{path.relative_to(package)}" for path in package.rglob("*.*") if path.suffix != ".pyc"}
    assert {"capacity/static/host.html", "capacity/static/join.html", "capacity/static/account.html"} <= pages
    assert any(name.endswith(".lua") for name in others) and "capacity/plans.toml" in others
    assert names >= pages | others
    assert not [name for name in names if not name.startswith(("capacity/", f"capacity-{__version__}.dist-info/"))]


def test_the_source_distribution_has_what_the_image_is_made_from(wheel: Path) -> None:
    (source,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"Dockerfile", ".dockerignore", "compose.yaml", "Procfile", "requirements.lock", "static/join.html"}


def test_the_wheel_has_the_texts_of_all_languages(wheel: Path) -> None:
    listed = re.search(
        r"LANGUAGES = Object\.freeze\(\{(.*?)\}\)", (ROOT / "static" / "texts.js").read_text(), re.DOTALL
    )
    assert listed is not None
    languages = re.findall(r"(\w+): ", listed[1])
    sets = {path.name for path in (ROOT / "static" / "texts" / "en").glob("*.js")}
    assert len(languages) >= 5 and "common.js" in sets
    wanted = {f"capacity/static/texts/{language}/{name}" for language in languages for name in sets}
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_names_what_it_needs(wheel: Path) -> None:
    metadata = zipfile.ZipFile(wheel).read(f"capacity-{__version__}.dist-info/METADATA").decode()
    assert "\nRequires-Python: >=3.11\n" in metadata and "\nLicense-Expression: MIT\n" in metadata
    extras = PROJECT["project"]["optional-dependencies"]
    needed = len(PROJECT["project"]["dependencies"]) + sum(map(len, extras.values()))
    assert metadata.count("\nRequires-Dist: ") == needed
    assert metadata.count("\nProvides-Extra: ") == len(extras)


def test_installed_it_runs_from_any_directory(installed: Path, tmp_path: Path) -> None:
    where = "import capacity, pathlib; print(pathlib.Path(capacity.__file__).resolve())"
    for command, expected in (
        ([str(installed / "capacity"), "--version"], f"capacity {__version__}"),
        ([str(installed / "python"), "-m", "capacity", "--version"], f"capacity {__version__}"),
        ([str(installed / "python"), "-c", where], str(installed.resolve().parent)),
    ):
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stdout.startswith(expected), done


def test_installed_it_serves_pages_and_rooms(installed: Path, start: Callable[..., Program], tmp_path: Path) -> None:
    program = start(command=(str(installed / "capacity"),), cwd=tmp_path)
    address = program.ready()  # with the scripts in the store
    for path in ("/host", "/join", "/account", "/static/capacity.js", "/static/texts/en/common.js", "/v1/jwks.json"):
        assert status_of(address + path) == 200, path


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_by_hash_and_name_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text and " @ " not in text  # neither an index nor a direct reference
    assert not re.search(r"^ *-(?!-hash=sha256:)", text, re.MULTILINE)  # no option, of which some name an index
    assert not re.search(r"(^|[ \"'=])/", text, re.MULTILINE)  # no path of a machine
    requirements = [part for part in re.split(r"\n(?=[a-z0-9])", text) if not part.startswith("#")]
    assert len(requirements) > 30
    for requirement in requirements:
        first, *rest = requirement.splitlines()
        assert re.match(r"[a-z0-9._-]+==[^ ]+( ; [^\\]+)? \\$", first), first
        assert any(re.search(r"--hash=sha256:[0-9a-f]{64}", line) for line in rest), first


def pinned(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_locks_hold_what_the_project_asks_for() -> None:
    run, dev = (pinned(name) for name in LOCKS)
    assert run.items() <= dev.items()
    groups = PROJECT["dependency-groups"]
    of_the_project = [*PROJECT["project"]["dependencies"], *groups["build"]]
    for lock, asked in ((run, of_the_project), (dev, [text for text in groups["dev"] if isinstance(text, str)])):
        for requirement in map(Requirement, asked):
            assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)]), requirement
    # redis needs it before Python 3.11.3, which Debian 12 has; locked on a later Python it would be missing.
    assert "async-timeout" in run


def test_the_procfile_starts_the_web_process_on_the_given_port(tmp_path: Path) -> None:
    stand_in = tmp_path / "capacity"
    stand_in.write_text('#!/bin/sh\necho "given: $*"\n')
    stand_in.chmod(0o700)
    environ = {name: value for name, value in os.environ.items() if name != "PORT"}
    environ["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "honcho", "-f", str(ROOT / "Procfile"), "-d", str(tmp_path), "start"]
    for port, expected in (({"PORT": "7001"}, "7001"), ({}, "5000")):  # 5000 is honcho's own
        done = subprocess.run(command, env={**environ, **port}, capture_output=True, text=True, check=False)
        assert f"given: serve --host 0.0.0.0 --port {expected}\n" in done.stdout, done
    (line,) = (ROOT / "Procfile").read_text().splitlines()
    done = subprocess.run(
        ["sh", "-c", line.removeprefix("web: ")], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "given: serve --host 0.0.0.0 --port 8000\n"


@pytest.mark.parametrize("goal", ["run", "test", "lint"])
def test_make_says_in_one_line_which_python_it_needs(tmp_path: Path, goal: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path)
    command = ["make", "--no-print-directory", "-C", str(tmp_path), goal, "PYTHON=false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout.count("\n") == 1 and "Python 3.11" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_what_ci_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().endswith("\nmake test\nmake lint\n")
    subprocess.run(["bash", "-n", str(script)], check=True)
