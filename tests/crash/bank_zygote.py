"""Forks the processes of the bank: Python and all modules are loaded once, here.

A child that has ended stays a zombie until it is asked for, so its pid is no other process's. All
are killed when the parent closes its end of the socket, as it does when it dies.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys

from bank_child import Job, live

import angzarr.rpc.remote
import angzarr.rpc.remote_store
import angzarr.serving
import angzarr.stores.rocksdb  # noqa: F401  all are loaded before the forks


def main(parent: socket.socket) -> None:
    """Requests, one a message: a job, with the child's end of its socket; or a pid to wait for.
    Answered with the pid, and with what it has ended as.
    """
    children: set[int] = set()
    gc.collect()
    gc.freeze()  # so that children share what is loaded, and die quickly
    while True:
        data, descriptors, _, _ = socket.recv_fds(parent, 65_536, 1)
        if not data:
            break
        request = json.loads(data)
        if isinstance(request, int):
            _, status = os.waitpid(request, 0)
            children.discard(request)
            parent.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
            continue
        [descriptor] = descriptors
        pid = os.fork()
        if pid == 0:
            parent.close()
            live(Job(**request), socket.socket(fileno=descriptor))
            os._exit(1)
        os.close(descriptor)
        children.add(pid)
        parent.send(json.dumps(pid).encode())
    for pid in children:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
