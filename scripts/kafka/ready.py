"""Waits until a Kafka broker answers a metadata request with itself in the answer.

An open port is too early: the broker accepts connections before it has joined its own controller.
Usage: ready.py HOST:PORT SECONDS PID. Exit code 0 when ready, 1 when the time is over, 2 when the process is gone.
"""

import socket
import struct
import sys
import time
from pathlib import Path

METADATA = 3
VERSION = 1


def brokers(address: tuple[str, int]) -> int:
    """The number of brokers in the answer to one metadata request that asks for no topics."""
    client = b"ready"
    header = struct.pack(">hhih", METADATA, VERSION, 1, len(client)) + client
    request = header + struct.pack(">i", 0)
    with socket.create_connection(address, timeout=2) as connection:
        connection.settimeout(2)
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        body = answer.read(size)
    _correlation, count = struct.unpack(">ii", body[:8])
    return count


def main() -> int:
    """Asks until the broker is ready, the deadline has passed or the process is gone."""
    host, port = sys.argv[1].rsplit(":", 1)
    deadline = time.monotonic() + float(sys.argv[2])
    process = Path("/proc") / sys.argv[3]
    while time.monotonic() < deadline:
        if Path("/proc/self").exists() and not process.exists():
            return 2
        try:
            if brokers((host, int(port))) > 0:
                return 0
        except (OSError, struct.error):
            pass
        time.sleep(0.05)
    return 1


if __name__ == "__main__":
    sys.exit(main())
