"""That servers of tests do not get into each other's way."""

from __future__ import annotations

import subprocess
import sys

PORTS, PROCESSES = 40, 4
PROGRAM = f"from tests.support.servers import free_port; print(*(free_port() for _ in range({PORTS})))"


def test_no_two_of_any_process_are_given_the_same_port() -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    given = [port for process in running for port in process.communicate()[0].split()]
    assert len(set(given)) == len(given) == PORTS * PROCESSES
