"""Habits that matter, held by tests: which way imports point, where keys are spelled, how scripts begin, how long a module is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, PACKAGE, ROOT

MODULE_LINES_MAX = 400
SLEEP_SECONDS_MAX = 0.05
SLEEPS = {
    (
        "tests/edge/conftest.py",
        "_slow",
    ): "a route whose answer is late on purpose, so that other requests come before it",
}
"""File and function of sleeps that wait for nothing, and what they are for."""

BASE = {"errors", "settings", "setting_readers", "redis_url"}
"""May be imported by all, and import nothing else of the package but each other."""
ARROWS = {
    "base": set[str](),
    "domain": set[str](),
    "protocol": {"domain"},
    "store": {"protocol", "domain"},
    "hub": {"store", "protocol", "domain"},
    "hooks": {"store", "protocol", "domain"},
    "billing": {"store", "protocol", "domain"},
    "web": {"hub", "billing", "store", "protocol", "domain"},
    "client": {"store", "protocol", "domain"},
    "rehearsal": {"top", "client", "demo", "protocol", "domain"},
    "demo": {"top", "client", "web", "hub", "store", "protocol", "domain"},
    "top": {"top", "demo", "rehearsal", "client", "web", "hub", "hooks", "billing", "store", "protocol", "domain"},
}
"""Layer → the layers that it may import, besides itself and the base."""
IMPURE = {"asyncio", "anyio", "redis", "starlette", "uvicorn", "socket", "time", "threading", "subprocess", "logging"}
"""What `domain` and `protocol` may not import: I/O, tasks and clocks."""
CLOCK_READING = {"now", "utcnow", "today"}

MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SCRIPTS = sorted((PACKAGE / "store" / "lua").glob("[a-z]*.lua"))
PRELUDE = PACKAGE / "store" / "lua" / "_prelude.lua"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def layer_of(parts: tuple[str, ...]) -> str:
    """Return the layer of a module by its name within the package: ("hub", "room"), ("errors",), ()."""
    if not parts or parts[0] in BASE or parts[0] == "__init__":
        return "base"
    return parts[0] if parts[0] in ARROWS else "top"


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything that is imported, wherever in the module: `capacity.store.keys`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"line {node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts of a name within the package, without what a module defines: `capacity.hub.hub.Hub` → hub, hub."""
    parts: tuple[str, ...] = ()
    place = PACKAGE
    for part in name.split(".")[1:]:
        place = place / part
        if not (place.is_dir() or place.with_suffix(".py").is_file()):
            break
        parts = (*parts, part)
    return parts


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Yield the calls of functions by their dotted names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    layer = layer_of(path.relative_to(PACKAGE).with_suffix("").parts)
    allowed = ARROWS[layer] | {layer, "base"}
    wrong = [
        f"line {line}: {name}"
        for line, name in imported(tree_of(path))
        if name.split(".")[0] == "capacity" and layer_of(parts_of(name)) not in allowed
    ]
    assert not wrong, f"{name_of(path)} ({layer}) may not import: {wrong}"


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name in ("domain", "protocol")], ids=name_of)
def test_domain_and_protocol_are_pure(path: Path) -> None:
    tree = tree_of(path)
    wrong = [name for _, name in imported(tree) if name.split(".")[0] in IMPURE]
    clocks = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in CLOCK_READING and "date" in ast.unparse(node.value)
    ]
    waits = [type(node).__name__ for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert not wrong + clocks + waits


def docstrings(tree: ast.Module) -> set[int]:
    """Return the identities of the constants that are documentation: strings that stand as statements."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "keys.py"], ids=name_of)
def test_keys_are_spelled_in_one_place(path: Path) -> None:
    tree = tree_of(path)
    documented = docstrings(tree)
    literals = [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and "capacity:1:" in node.value
        and id(node) not in documented
    ]
    built = [f"line {line}: {name}" for line, name in imported(tree) if name == "capacity.store.keys.PREFIX"]
    assert not literals + built, f"{name_of(path)}: a key is spelled in store/keys.py alone: {literals + built}"


@pytest.mark.parametrize("path", [*SCRIPTS, PRELUDE], ids=name_of)
def test_scripts_are_given_their_keys(path: Path) -> None:
    code = "\n".join(line.partition("--")[0] for line in path.read_text("utf-8").splitlines())
    assert "capacity:" not in code
    assert not re.search(r"\bcall\('(KEYS|SCAN|FLUSH\w*|EVAL\w*)'", code)


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_begin_with_a_head_that_names_their_arguments(path: Path) -> None:
    shebang, *lines = path.read_text("utf-8").splitlines()
    assert re.fullmatch(r"#!lua( flags=(allow-oom|no-writes))?", shebang)
    length = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    head, code = "\n".join(lines[:length]), "\n".join(line.partition("--")[0] for line in lines[length:])
    assert re.match(r"-- [A-Z]", head) and "." in head, "the head begins with what the script does"
    for kind in ("KEYS", "ARGV"):
        named = {int(number) for number in re.findall(rf"{kind}\[(\d+)", head)}
        rest = [int(number) for number in re.findall(rf"{kind}\[(\d+)…\]", head)]
        for number in {int(number) for number in re.findall(rf"{kind}\[(\d+)\]", code)}:
            assert number in named or any(number >= first for first in rest), f"{kind}[{number}] is not in the head"
        if re.search(rf"#{kind}|unpack\({kind}", code):
            assert named or re.search(rf"{kind} ", head), f"{kind} is not in the head"
    if re.search(r"return answer\([^)]", code):
        assert "results" in head, "the head does not say what the results are"


def test_every_script_is_run_by_somebody() -> None:
    from capacity.store import scripts

    run = {*scripts.ROOM, *(value.name for value in vars(scripts).values() if isinstance(value, scripts.Script))}
    assert run == {path.stem for path in SCRIPTS}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_short(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= MODULE_LINES_MAX, f"{name_of(path)} has {lines} lines, {MODULE_LINES_MAX} are the most"


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name_of)
def test_packages_say_what_lives_there(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_blocks_the_loop_or_prints(path: Path) -> None:
    tree = tree_of(path)
    blocking = [
        f"line {call.lineno}: {ast.unparse(call.func)}"
        for function in ast.walk(tree)
        if isinstance(function, ast.AsyncFunctionDef)
        for call in calls(function, "time.sleep", "subprocess.run", "urllib.request.urlopen", "os.system", "input")
    ]
    printing = [f"line {call.lineno}: print" for call in calls(tree, "print")]
    if path == PACKAGE / "cli.py" or path.parent == PACKAGE / "demo":
        printing = []
    assert not blocking + printing


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=name_of)
def test_nothing_is_left_undone(path: Path) -> None:
    undone = "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "Not" + "ImplementedError"))
    assert not re.findall(rf"\b({undone})\b", path.read_text("utf-8"))


def guesses(path: Path) -> Iterator[tuple[str, str]]:
    """Yield function and call of every sleep for a set time. `wait_for_timeout` is Playwright's sleep."""
    for function in ast.walk(tree_of(path)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not call.args or not isinstance(call.args[0], ast.Constant):
                continue
            seconds = call.args[0].value
            what = ast.unparse(call.func).rpartition(".")[2]
            long = isinstance(seconds, int | float) and seconds > SLEEP_SECONDS_MAX
            if what == "wait_for_timeout" or (what == "sleep" and long):
                yield function.name, f"line {call.lineno}: {ast.unparse(call)}"


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_do_not_sleep_a_guess(path: Path) -> None:
    if path.is_relative_to(ROOT / "tests" / "simulation"):
        return  # its clock is virtual: a sleep there takes no time, and what follows it follows always
    found = [call for function, call in guesses(path) if (name_of(path), function) not in SLEEPS]
    assert not found, f"{name_of(path)}: wait for a condition with a deadline instead: {found}"


def test_the_list_of_sleeps_is_true() -> None:
    assert {(name_of(path), function) for path in TESTS for function, _ in guesses(path)} >= SLEEPS.keys()


@pytest.mark.parametrize("path", [*DOCUMENTS, *MODULES, *TESTS, *SCRIPTS, PRELUDE], ids=name_of)
def test_no_machine_is_named(path: Path) -> None:
    text = path.read_text("utf-8")
    places = ("/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/", "pypi" + ".org", "--index" + "-url")
    assert not [place for place in places if place in text]
