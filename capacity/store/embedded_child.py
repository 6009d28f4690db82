"""The last step before the embedded Valkey: a program of its own, run by path, that becomes the server.

    python embedded_child.py PARENT_PID PID_FILE_FD SOCKET GUARD SERVER [ARGUMENT…]

It writes {"pid", "socket"} into the pid file, which the parent has locked, and ties the server to its parent:

- GUARD `prctl` (Linux): the kernel kills the server when its parent dies (PR_SET_PDEATHSIG, kept across exec). The
  parent may have died just before the call, hence the look at getppid after it.
- GUARD `pipe` (elsewhere): this program stays, and kills the server when its standard input ends, a pipe whose other
  end the parent alone has open.

It imports nothing of the package, so that it starts in a few milliseconds and from any directory.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1
EXIT_ORPHAN = 76


def main(arguments: list[str]) -> int:
    parent, pid_file, socket, guard, *command = arguments
    pid_file_fd = int(pid_file)
    if guard == "prctl":
        if not die_with_parent(int(parent), signal.SIGKILL):
            return EXIT_ORPHAN
        _record(pid_file_fd, os.getpid(), socket)
        _become(pid_file_fd, command)
    recorded, record = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(record)
        if os.read(recorded, 1):  # nothing to read: the guard is gone
            _become(pid_file_fd, command)
        os._exit(EXIT_ORPHAN)
    _record(pid_file_fd, server, socket)
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(server, number))
    os.write(record, b".")
    threading.Thread(target=_kill_at_end_of_input, args=(server,), daemon=True).start()
    return os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]) & 0xFF


def die_with_parent(parent_pid: int, number: signal.Signals) -> bool:
    """Have the kernel send us the signal when the thread that started us ends. False: the parent is gone already."""
    import ctypes

    done: int = ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    return done == 0 and os.getppid() == parent_pid


def _record(pid_file_fd: int, pid: int, socket: str) -> None:
    os.ftruncate(pid_file_fd, 0)
    os.pwrite(pid_file_fd, json.dumps({"pid": pid, "socket": socket}).encode(), 0)


def _become(pid_file_fd: int, command: list[str]) -> None:
    os.set_inheritable(pid_file_fd, True)  # the server keeps the lock for as long as anything of it runs
    os.execv(command[0], command)


def _kill_at_end_of_input(server: int) -> None:
    while os.read(0, 4096):
        pass
    os.kill(server, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
