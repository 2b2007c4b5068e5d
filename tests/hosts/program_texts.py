"""Programs of a few lines that are components: in C, for the shell, in Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_LIAR = Path(__file__).parent.parent / "attackers" / "lying_program.py"
_STATIC = r"""
#include <stdio.h>
#include <unistd.h>
int main(void) { puts("a static binary runs"); fflush(stdout); for (;;) pause(); }
"""
_KETTLE = r"""#!/bin/sh
# Speaks JSON-RPC in lines on descriptor 3, with nothing but the shell.
echo "the kettle is on"
while read -r line <&3; do
    id=${line#*'"id":'}; id=${id%%,*}
    litres=${line#*'"litres":'}; litres=${litres%%[,\}]*}
    case $line in
    *'"method":"boil"'*)
        printf '{"jsonrpc":"2.0","method":"event","params":{"topic":"boiled","value":%s}}\n' "$litres" >&3
        printf '{"jsonrpc":"2.0","id":%s,"result":"%s litres are hot"}\n' "$id" "$litres" >&3 ;;
    *'"method":"spill"'*)
        printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"there is no water"}}\n' "$id" >&3 ;;
    *'"method":"wait"'*) echo "call $id waits" ;;
    *'"method":"cancel"'*) echo "told that a caller has given up" ;;
    esac
done
"""
ADDER = """#!{python} -u
import json, os
print("it is up")
with os.fdopen(3, "r+b", buffering=0) as talk, os.fdopen(os.dup(3), "rb") as lines:
    for line in lines:
        asked = json.loads(line)
        answer = {{"jsonrpc": "2.0", "id": asked["id"], "result": sum(asked["params"].values())}}
        talk.write(json.dumps(answer).encode() + b"\\n")
"""
SAFE = r"""#!/bin/sh
read -r key </secrets/key; read -r spare </secrets/spare
while read -r line <&3; do
    id=${line#*'"id":'}; id=${id%%,*}
    printf '{"jsonrpc":"2.0","id":%s,"result":"key %s, spare %s"}\n' "$id" "$key" "$spare" >&3
done
"""
_SERVER = """
import os, signal, socket, sys
mode, port = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
listener = socket.socket()
listener.bind(("127.0.0.1", port))
listener.listen(16)
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notices.connect(os.environ["NOTIFY_SOCKET"])
if mode == "late":
    print("WATCHDOG_USEC is", os.environ["WATCHDOG_USEC"], flush=True)
notices.send(b"READY=1\\nSTATUS=serving")
if mode in ("frozen", "late"):
    signal.pause()
while True:
    connection, _ = listener.accept()
    path = connection.recv(4096).split()[1]
    status = b"200 OK" if path == b"/health" else b"503 Unwell"
    connection.sendall(b"HTTP/1.1 " + status + b"\\r\\nContent-Length: 0\\r\\n\\r\\n")
    connection.close()
"""


def write_programs(folder: Path) -> None:
    """Write `kettle`, `server.py` and `liar.py` into a folder, and compile `static`."""
    (folder / "kettle").write_text(_KETTLE)
    (folder / "kettle").chmod(0o755)
    (folder / "server.py").write_text(_SERVER)
    shutil.copy(_LIAR, folder / "liar.py")
    command = ["gcc", "-static", "-O1", "-x", "c", "-", "-o", str(folder / "static")]
    subprocess.run(command, input=_STATIC.encode(), check=True)
