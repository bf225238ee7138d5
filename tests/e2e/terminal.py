"""A program on a terminal of a given size: what a person sees."""
import fcntl
import os
import pty
import select
import struct
import termios
import time
import unicodedata

END_SECONDS = 20.0


def on_terminal(command, columns=80, lines=24, **environment):
    """(exit code, text) of the command on a pseudo-terminal; stdout and stderr are the same. An environment value None
    takes the name away. The size is there before the program starts."""
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES", "LC_ALL")}
    env.update({"TERM": "xterm", "LANG": "C.UTF-8", **environment})
    env = {key: value for key, value in env.items() if value is not None}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ours)
            login_tty(theirs)
            os.execve(command[0], command, env)
        finally:
            os._exit(127)
    os.close(theirs)
    return finish(pid, ours)


def login_tty(fd):
    os.setsid()
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(fd, number)


def finish(pid, ours):
    output = b""
    end = time.monotonic() + END_SECONDS
    while time.monotonic() < end and select.select([ours], [], [], max(end - time.monotonic(), 0))[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: the other side has gone
            break
        if not part:
            break
        output += part
    else:
        os.kill(pid, 9)
    _, status = os.waitpid(pid, 0)
    os.close(ours)
    return os.waitstatus_to_exitcode(status), output.decode("utf-8").replace("\r\n", "\n")


def places(line):
    """How many places of a terminal the line takes; it has no escape sequences."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
               for char in line)
