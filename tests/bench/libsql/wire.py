"""A TCP connection that is long: passes bytes on, each way after half of a delay, and counts exchanges and bytes."""

import collections
import selectors
import socket
import threading
import time

PIECE = 1 << 16


class Wire:
    """In front of a port of this machine, in a thread of its own.

    An exchange is what a client says on a connection after the server had the word, whatever the protocol."""

    def __init__(self, target_port, delay_ms=0.0):
        self.target_port = target_port
        self.delay = delay_ms / 1000
        self.exchanges = 0
        self.bytes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._ends = {}  # A socket: its other end, and whether it is the client's.
        self._under_way = collections.deque()  # (when it arrives, where, bytes); the delay is one for all, so sorted.
        self._clients_turn = set()  # Sockets of clients on which the server spoke last.
        self._closing = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def reset(self):
        self.exchanges = self.bytes = 0

    def close(self):
        self._closing = True
        self._thread.join()
        for end in [*self._ends, self._listener]:
            end.close()
        self._selector.close()

    def _run(self):
        while not self._closing:
            wait = 0.1
            if self._under_way:
                wait = max(0.0, min(wait, self._under_way[0][0] - time.monotonic()))
            for key, _ in self._selector.select(wait):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._ends:
                    self._read(key.fileobj)
            while self._under_way and self._under_way[0][0] <= time.monotonic():
                _, end, data = self._under_way.popleft()
                self._deliver(end, data)

    def _accept(self):
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self.target_port))
        for end, other, is_client in ((client, server, True), (server, client, False)):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends[end] = (other, is_client)
            self._selector.register(end, selectors.EVENT_READ, None)
        self._clients_turn.add(client)

    def _read(self, end):
        other, is_client = self._ends[end]
        try:
            data = end.recv(PIECE)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(end)
        elif is_client:
            if end in self._clients_turn:
                self._clients_turn.discard(end)
                self.exchanges += 1
        else:
            self._clients_turn.add(other)
        self.bytes += len(data)
        self._under_way.append((time.monotonic() + self.delay / 2, other, data))

    def _deliver(self, end, data):
        try:
            if data:
                end.setblocking(True)
                end.sendall(data)
            else:
                end.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The end has gone: so has what was for it.
