"""The log of a process: JSON lines or text, from a level on, and who wrote them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.ops.programs import Program

SPEAK = """
import logging, structlog
from capacity import log
log.set_up({level!r}, {format!r})
ours = structlog.get_logger("capacity.tests")
ours.debug("whispered", number=1)
ours.info("said", number=2)
log.identify("h1")
ours.warning("shouted", number=3, pid=7)
logging.getLogger("some.library").warning("A sentence, with %s.", "a part")
"""


def spoken(level: str, format: str) -> str:
    """Return what a process with such a log writes to a stderr that is no terminal."""
    code = SPEAK.format(level=level, format=format)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not done.stdout
    return done.stderr


def test_a_line_of_json_says_what_and_who() -> None:
    said, shouted, foreign = map(json.loads, spoken("info", "auto").splitlines())
    assert list(said)[:3] == ["timestamp", "level", "event"]
    assert (said["event"], said["level"], said["number"], said["logger"]) == ("said", "info", 2, "capacity.tests")
    assert said["pid"] > 0 and "hub" not in said and said["timestamp"].endswith("Z")
    assert (shouted["hub"], shouted["pid"]) == ("h1", 7), "what the event says of itself stays"
    assert (foreign["event"], foreign["logger"], foreign["hub"]) == ("A sentence, with a part.", "some.library", "h1")


def test_text_is_for_eyes() -> None:
    lines = spoken("debug", "text").splitlines()
    assert len(lines) == 4 and "\x1b" not in "".join(lines), "no colours where nobody sees them"
    assert [line.split()[3] for line in lines[:3]] == ["whispered", "said", "shouted"]
    assert "hub=h1 number=3 pid=7" in lines[2]


def test_what_is_below_the_level_is_not_written() -> None:
    assert [json.loads(line)["level"] for line in spoken("warning", "json").splitlines()] == ["warning", "warning"]


def test_the_flag_wins_over_the_variable(start: Callable[..., Program]) -> None:
    program = start(
        "--log-level", "info", "--log-format", "json", CAPACITY_LOG_LEVEL="error", CAPACITY_LOG_FORMAT="text"
    )
    program.ready()
    (listening,) = program.listening()
    assert listening["pid"] == program.pid and listening["hub"]
    program.until(lambda: any(line["event"] == "hub_ready" for line in program.log()))
    assert program.end(signal.SIGTERM)[0] == 0
    lines = program.log()
    assert len(lines) == len(program.log_file.read_text().splitlines()), "every line is JSON"
    assert all(line["pid"] == program.pid for line in lines)
    assert [line["event"] for line in lines if line["level"] != "info"] == []
