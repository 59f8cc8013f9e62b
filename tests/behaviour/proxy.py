"""An HTTP proxy between a replica and its primary that can do what networks and wrong servers do."""

import contextlib
import http.client
import http.server
import os
import select
import socket
import struct
import threading
import time

HTML = b"<html><body><h1>Sign in to the airport's wireless network</h1></body></html>"


class Proxy:
    """Passes everything on, unless told otherwise. A call is the last part of the path ("pull", "lease", "commit"...).

    disturb(call)         asked before an exchange: None, "lose" (the request never arrives), "twice" (it arrives
                          twice), seconds that it is under way, whether the client waits so long or not, or a function
                          that does with the Exchange what it likes
    tamper(call, answer)  may change the Answer before it is sent back
    name_call(exchange)   what a call is called, where that is not the last part of its path
    tells_who_goes        a client that hangs up before the answer is there, so that the primary's connection ends, too,
                          as proxies do; but not where a disturbance was delivered
    tls                   of connections that are made from now on: an ssl.SSLContext, None, or a function that is given
                          the socket and says what to speak on

    All of them run in the proxy's threads."""

    def __init__(self, target_port=None, tls=None, name_call=None):
        self.target_port = target_port
        self.tls = tls
        self.tamper = None
        self.disturb = None
        self.name_call = name_call
        self.tells_who_goes = False
        self.calls = []  # Names of the calls that came in, oldest first.
        self.moved_at = 0.0  # time.monotonic() when something last got through, in either direction.
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._connections = set()
        self._under_way = 0
        # Keeps the port ours while nobody listens on it.
        self._place = self._bound(0)
        self.port = self._place.getsockname()[1]
        self._listener = None
        self.up()

    def url(self, database="main", scheme=None):
        return f"{scheme or ('https' if self.tls else 'http')}://127.0.0.1:{self.port}/{database}"

    def close(self):
        self.closing.set()
        self.down()
        self._place.close()

    def count(self, call):
        return self.calls.count(call)

    # --- Connections.

    def up(self):
        listener = self._bound(self.port)
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self):
        """New connections are refused, and those that are there end."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.drop_connections()

    def drop_connections(self):
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _bound(self, port):
        place = socket.socket()
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", port))
        return place

    def _accept(self, listener):
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._converse, args=(connection, address), daemon=True).start()

    def _converse(self, connection, address):
        with self._lock:
            self._connections.add(connection)
        secure = connection
        # Connections that end early are what this is for.
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            tls = self.tls
            if tls is not None:
                secure = tls(connection) if callable(tls) else tls.wrap_socket(connection, True)
                with self._lock:
                    self._connections.add(secure)
            _Handler(secure, address, self)
        with self._lock:
            self._connections -= {connection, secure}
        for one in {connection, secure}:
            with contextlib.suppress(OSError):
                one.close()

    # --- Exchanges.

    def serve(self, handler):
        exchange = Exchange(self, handler)
        disturbance = self.disturb(exchange.call) if self.disturb is not None else None
        self.calls.append(exchange.call)
        if callable(disturbance):
            disturbance(exchange)
            return
        if disturbance == "lose":
            _ = exchange.body
            exchange.close()
            return
        if disturbance == "twice":
            exchange.deliver()
        elif disturbance is not None:
            _ = exchange.body
            time.sleep(disturbance)
        elif self.tells_who_goes:
            exchange.send(exchange.deliver(while_client_waits=True))
            return
        exchange.send(exchange.deliver())

    @contextlib.contextmanager
    def delivering(self):
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def later(self, seconds, act):
        """`act` in that time; until then, and until it is done, something is under way."""

        started = threading.Event()

        def wait():
            with self.delivering():
                started.set()
                time.sleep(seconds)
                act()

        threading.Thread(target=wait, daemon=True).start()
        started.wait()

    def nothing_under_way(self):
        """Nothing that a client sent is still on its way to the primary, but for questions that it keeps open."""
        with self._lock:
            return self._under_way == 0

    def moved(self):
        self.moved_at = time.monotonic()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.serve(self)

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Exchange:
    """One request on its way, for a function that `disturb` gave."""

    def __init__(self, proxy, handler):
        self.proxy, self.handler = proxy, handler
        self._body = None
        self.call = handler.path.rsplit("/", 1)[1]
        if proxy.name_call is not None:
            self.call = proxy.name_call(self)

    @property
    def length(self):
        return int(self.handler.headers.get("Content-Length") or 0)

    @property
    def body(self):
        if self._body is None:
            self._body = self.handler.rfile.read(self.length)
        return self._body

    def deliver(self, while_client_waits=False):
        """Once more if it was done before. The primary's Answer."""
        body = self.body
        if self.proxy.target_port is None:
            return Answer(200, "text/html", HTML)
        with contextlib.nullcontext() if self.call == "pull" else self.proxy.delivering():
            return self._ask(body, while_client_waits)

    def _ask(self, body, while_client_waits):
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.target_port, timeout=60)
        try:
            connection.request(self.handler.command, self.handler.path, body, self._headers())
            while while_client_waits and not select.select([connection.sock], [], [], 0.05)[0]:
                if not self.client_waits():
                    raise ConnectionError
            response = connection.getresponse()
            answer = Answer(response.status, response.headers.get("Content-Type", ""), response.read())
            # What gRPC says of a call that has no answer stands there.
            answer.headers = {n: v for n, v in response.headers.items() if n.lower().startswith("grpc-")}
            return answer
        except (OSError, http.client.HTTPException):
            return Answer(502, "text/plain", b"the primary did not answer")
        finally:
            connection.close()

    def deliver_half(self):
        """The primary gets the beginning of the request, and then the connection is gone."""
        lines = [f"{self.handler.command} {self.handler.path} HTTP/1.1", "Host: primary"]
        headers = {**self._headers(), "Content-Length": str(self.length)}
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = "\r\n".join([*lines, "", ""]).encode() + self.body
        with socket.create_connection(("127.0.0.1", self.proxy.target_port)) as connection:
            connection.sendall(request[: len(request) - max(1, self.length // 2)])

    def _headers(self):
        dropped = ("host", "content-length", "connection", "expect")
        return {
            name: value for name, value in self.handler.headers.items() if name.lower() not in dropped
        }

    def send(self, answer):
        if self.proxy.tamper is not None:
            self.proxy.tamper(self.call, answer)
        self.write(answer.bytes())
        self.proxy.moved()
        if answer.cut_at is not None:
            self.close()

    def write(self, data):
        self.handler.wfile.write(data)
        self.handler.wfile.flush()

    def close(self):
        self.handler.close_connection = True

    def reset(self):
        """Ends the connection by a RST."""
        connection = self.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()
        os.close(connection.detach())

    def client_waits(self):
        return not has_ended(self.handler.connection) and not self.proxy.closing.is_set()

    def stall(self):
        """Until the client hangs up."""
        wait_for_end(self.handler.connection, self.proxy.closing)
        self.close()


def has_ended(connection):
    """The other side has hung up, or this one."""
    poll = select.poll()
    try:
        poll.register(connection, select.POLLRDHUP)
    except ValueError:  # It is closed.
        return True
    return bool(poll.poll(0))


def wait_for_end(connection, closing):
    while not has_ended(connection) and not closing.wait(0.02):
        pass


class Answer:
    def __init__(self, status, content_type, body):
        self.status, self.content_type, self.body = status, content_type, body
        self.headers = {}
        self.cut_at = None  # So many bytes of the body are sent, then the connection ends.
        self.announced = None  # What Content-Length says, if it is not the truth.

    def flip_bit(self, position, bit):
        changed = bytearray(self.body)
        changed[position] ^= 1 << bit
        self.body = bytes(changed)

    def become_html(self, status=200):
        self.status, self.content_type, self.body = status, "text/html", HTML

    def bytes(self):
        """As they go over the wire."""
        length = len(self.body) if self.announced is None else self.announced
        headers = {"Content-Type": self.content_type, "Content-Length": length, **self.headers}
        reason = http.client.responses.get(self.status, "Unknown")
        lines = [f"HTTP/1.1 {self.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        body = self.body if self.cut_at is None else self.body[: self.cut_at]
        return "\r\n".join([*lines, "", ""]).encode() + body
