"""An HTTP proxy between a replica and its primary that can do what networks and wrong servers do."""

import http.client
import http.server
import socketserver
import threading
import time

HTML = b"<html><body><h1>Sign in to the airport's wireless network</h1></body></html>"


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass  # Connections that end early are what this is for.


class Proxy:
    """Passes everything on, unless told otherwise. A call is the last part of the path ("pull", "lease", "commit"...).

    disturb(call)         asked before an exchange: None, "lose" (the request never arrives), "twice" (it arrives
                          twice), or seconds that it is under way, whether the client waits so long or not
    tamper(call, answer)  may change the Answer before it is sent back

    Both run in the proxy's threads."""

    def __init__(self, target_port=None):
        self.target_port = target_port
        self.tamper = None
        self.disturb = None
        self.calls = []  # Names of the calls that came in, oldest first.
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                proxy._serve(self)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def url(self, database="main"):
        return f"http://127.0.0.1:{self.port}/{database}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def count(self, call):
        return self.calls.count(call)

    def _serve(self, handler):
        call = handler.path.rsplit("/", 1)[1]
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.calls.append(call)
        disturbance = self.disturb(call) if self.disturb is not None else None
        if disturbance == "lose":
            handler.close_connection = True
            return
        if disturbance == "twice":
            self._ask(handler, body)
        elif disturbance is not None:
            time.sleep(disturbance)
        answer = self._ask(handler, body)
        if self.tamper is not None:
            self.tamper(call, answer)
        answer.send(handler)

    def _ask(self, handler, body):
        if self.target_port is None:
            return Answer(200, "text/html", HTML)
        connection = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=60)
        try:
            headers = {
                name: value
                for name, value in handler.headers.items()
                if name.lower() not in ("host", "content-length", "connection", "expect")
            }
            connection.request(handler.command, handler.path, body, headers)
            response = connection.getresponse()
            return Answer(
                response.status, response.headers.get("Content-Type", ""), response.read()
            )
        except (OSError, http.client.HTTPException):
            return Answer(502, "text/plain", b"the primary did not answer")
        finally:
            connection.close()


class Answer:
    def __init__(self, status, content_type, body):
        self.status, self.content_type, self.body = status, content_type, body
        self.cut_at = None  # So many bytes of the body are sent, then the connection ends.

    def flip_bit(self, position, bit):
        changed = bytearray(self.body)
        changed[position] ^= 1 << bit
        self.body = bytes(changed)

    def become_html(self, status=200):
        self.status, self.content_type, self.body = status, "text/html", HTML

    def send(self, handler):
        handler.send_response(self.status)
        handler.send_header("Content-Type", self.content_type)
        handler.send_header("Content-Length", str(len(self.body)))
        handler.end_headers()
        if self.cut_at is None:
            handler.wfile.write(self.body)
        else:
            handler.wfile.write(self.body[: self.cut_at])
            handler.close_connection = True
        handler.wfile.flush()
