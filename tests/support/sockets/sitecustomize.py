"""Notes every address that its process connects or sends to; loaded by Python where this folder is on its path.

SOCKETS: the file that gets a line per address or name asked for, and per program started.
"""

import os
import sys

WATCHED = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getaddrinfo": 0, "subprocess.Popen": 1}


def _note(event: str, words: tuple[object, ...]) -> None:
    if event in WATCHED:
        line = f"{event} {words[WATCHED[event]]!r}\n"
        os.write(_LOG, line.encode())


if "SOCKETS" in os.environ:
    _LOG = os.open(os.environ["SOCKETS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.addaudithook(_note)
