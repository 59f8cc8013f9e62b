"""What can go wrong between a replica and its primary, each fault by name.

An exchange fault is a function of an Exchange (proxy.py) that does, in place of passing it on, what the name says. An
outage is there before the request: it ends the connections that are kept, and meets those that come anew."""

import os
import ssl
import subprocess
import time

from proxy import HTML, Answer, wait_for_end

TIMEOUT = 1.0  # Seconds: the option `timeout` of the replicas that meet the faults.
LATE = 0.4  # In time.
TOO_LATE = TIMEOUT + 0.6
DRIP_PAUSE = 0.2
MODEM_BYTES, MODEM_PAUSE = 700, 0.1  # 56 kbit/s
MODEM_PAUSES_MAX = 30  # A test has no time for more.

EXCHANGE_FAULTS = {}
OUTAGES = {}


class Fault:
    """
    harmless    what is asked for goes well all the same, if this happens to one exchange
    ambiguous   but a commit that meets it is settled, and may have to be tried again
    slow        goes on at a pace of its own: an operation may take longer than the timeout
    words       what turso_last_error() says of it"""

    def __init__(
        self, name, act, harmless=False, ambiguous=False, slow=False, timeout=TIMEOUT, words=()
    ):
        self.name, self.act = name, act
        self.harmless, self.ambiguous, self.slow = harmless, ambiguous, slow
        self.timeout, self.words = timeout, words


def exchange_fault(name, **traits):
    def add(act):
        EXCHANGE_FAULTS[name] = Fault(name, act, **traits)
        return act

    return add


# --- Connections that end. -----------------------------------------------------------------------------------------


@exchange_fault("reset, not delivered")
def reset_at_once(exchange):
    exchange.reset()


@exchange_fault("closed, not delivered")
def closed_at_once(exchange):
    _ = exchange.body
    exchange.close()


@exchange_fault("reset after delivery")
def reset_after_delivery(exchange):
    exchange.deliver()
    exchange.reset()


@exchange_fault("answer lost")
def answer_lost(exchange):
    exchange.deliver()
    exchange.close()


@exchange_fault("half a request")
def half_request(exchange):
    exchange.deliver_half()
    exchange.close()


@exchange_fault("half an answer")
def half_answer(exchange):
    answer = exchange.deliver().bytes()
    exchange.write(answer[: len(answer) // 2])
    exchange.close()


@exchange_fault("half an answer, reset")
def half_answer_reset(exchange):
    answer = exchange.deliver().bytes()
    exchange.write(answer[: len(answer) // 2])
    exchange.reset()


# --- What takes too long. ------------------------------------------------------------------------------------------


@exchange_fault("stalls, not delivered")
def stall_before(exchange):
    _ = exchange.body
    exchange.stall()


@exchange_fault("stalls after delivery")
def stall_after(exchange):
    exchange.deliver()
    exchange.stall()


@exchange_fault("stalls in the answer")
def stall_within(exchange):
    answer = exchange.deliver().bytes()
    exchange.write(answer[: len(answer) // 2])
    exchange.stall()


@exchange_fault("delivered late", harmless=True)
def delivered_late(exchange):
    body_comes_after(exchange, LATE)
    exchange.send(exchange.deliver())


@exchange_fault("delivered after the retry")
def delivered_too_late(exchange):
    with exchange.proxy.delivering():
        body_comes_after(exchange, TOO_LATE)
        exchange.send(exchange.deliver())


def body_comes_after(exchange, seconds):
    _ = exchange.body
    time.sleep(seconds)


@exchange_fault("answered late", harmless=True)
def answered_late(exchange):
    answer = exchange.deliver()
    time.sleep(LATE)
    exchange.send(answer)


@exchange_fault("answered after the retry")
def answered_too_late(exchange):
    answer = exchange.deliver()
    time.sleep(TOO_LATE)
    exchange.send(answer)


@exchange_fault("drips, head and all")
def drips(exchange):
    drip(exchange, exchange.deliver().bytes())


@exchange_fault("drips, body only")
def drips_body(exchange):
    answer = exchange.deliver().bytes()
    head = answer.index(b"\r\n\r\n") + 4
    exchange.write(answer[:head])
    drip(exchange, answer[head:])


def drip(exchange, data):
    for position in range(len(data)):
        if not exchange.client_waits():
            break
        exchange.write(data[position : position + 1])
        time.sleep(DRIP_PAUSE)
    exchange.close()


@exchange_fault("a modem's bandwidth", harmless=True, slow=True)
def modem(exchange):
    time.sleep(min(LATE, exchange.length / MODEM_BYTES * MODEM_PAUSE))
    answer = exchange.deliver().bytes()
    piece = max(MODEM_BYTES, len(answer) // MODEM_PAUSES_MAX)
    for begin in range(0, len(answer), piece):
        time.sleep(MODEM_PAUSE)
        exchange.write(answer[begin : begin + piece])
        exchange.proxy.moved()


# --- Too often. ----------------------------------------------------------------------------------------------------


@exchange_fault("delivered twice", harmless=True)
def delivered_twice(exchange):
    exchange.deliver()
    exchange.send(exchange.deliver())


@exchange_fault("delivered again later", harmless=True)
def delivered_again(exchange):
    exchange.send(exchange.deliver())
    exchange.proxy.later(LATE, exchange.deliver)


# --- Somebody else answers. ----------------------------------------------------------------------------------------


def add_status(status, headers=None, suffix="", timeout=TIMEOUT, **traits):
    words = ["text/html"] if status == 200 else [f"HTTP status {status}"]
    words += [f"come again in {seconds} s" for seconds in (headers or {}).values()]

    def answer():
        made = Answer(status, "text/html", HTML)
        made.headers = headers or {}
        return made

    @exchange_fault(f"{status}{suffix}, not delivered", timeout=timeout, words=words, **traits)
    def instead(exchange):
        _ = exchange.body
        exchange.send(answer())

    # Who answers 3xx or 4xx has not let the request through; of a 5xx nobody knows.
    if status == 200 or status >= 500:

        @exchange_fault(f"{status}{suffix}, delivered", timeout=timeout, words=words)
        def afterwards(exchange):
            exchange.deliver()
            exchange.send(answer())


for _status in (200, 404, 500, 502, 503, 504):
    add_status(_status)
add_status(429, suffix=" without a time")
# A second is the least that Retry-After can say.
SOON, LATER = ({"Retry-After": 1}, " retry in 1 s", 2.0), ({"Retry-After": 60}, " retry in 60 s")
add_status(429, *SOON, harmless=True)
add_status(503, *SOON, harmless=True, ambiguous=True)
add_status(429, *LATER)
add_status(503, *LATER)


@exchange_fault("redirect to the same host", words=["a redirect to", "are not followed"])
def redirect_here(exchange):
    redirect(exchange, 307, exchange.proxy.url("elsewhere"))


@exchange_fault("redirect to another host", words=["a redirect to", "are not followed"])
def redirect_away(exchange):
    redirect(exchange, 308, exchange.proxy.elsewhere)


def redirect(exchange, status, where):
    _ = exchange.body
    answer = Answer(status, "text/html", b"")
    answer.headers = {"Location": where}
    exchange.send(answer)


@exchange_fault("an answer that is no HTTP")
def garbage(exchange):
    exchange.deliver()
    exchange.write(b"SSH-2.0-OpenSSH_9.2p1\r\n" * 20)
    exchange.close()


@exchange_fault("an empty answer")
def empty(exchange):
    answer = exchange.deliver()
    answer.body = b""
    exchange.send(answer)


@exchange_fault("Content-Length too small")
def announced_too_small(exchange):
    answer = exchange.deliver()
    answer.announced = len(answer.body) // 2
    exchange.send(answer)


@exchange_fault("Content-Length too great")
def announced_too_great(exchange):
    answer = exchange.deliver()
    answer.announced = len(answer.body) * 2 + 10
    exchange.write(answer.bytes())
    exchange.stall()


# --- Outages. ------------------------------------------------------------------------------------------------------


class Outage:
    """`begin(network)` returns what ends it. A Network has a proxy, certificates, and a resolver of its own."""

    harmless = ambiguous = slow = False
    words = ()

    def __init__(self, name, begin, needs):
        self.name, self.begin, self.needs = name, begin, needs
        # A handshake is work, for which a machine with too much to do may need more than a second.
        self.timeout = 3 * TIMEOUT if needs == "tls" else TIMEOUT


def outage(name, needs=""):
    def add(begin):
        OUTAGES[name] = Outage(name, begin, needs)
        return begin

    return add


@outage("refused")
def refused(network):
    network.proxy.down()
    return network.proxy.up


@outage("name does not resolve", needs="name")
def no_name(network):
    return without_name(network, "fail")


@outage("resolver does not answer", needs="name")
def slow_name(network):
    return without_name(network, "stall")


def without_name(network, how):
    network.resolve(how)
    network.proxy.drop_connections()
    return lambda: network.resolve(None)


def speaking(network, tls):
    before, network.proxy.tls = network.proxy.tls, tls
    network.proxy.drop_connections()

    def end():
        network.proxy.tls = before
        network.proxy.drop_connections()

    return end


@outage("certificate nobody vouches for", needs="tls")
def untrusted(network):
    return speaking(network, network.certificates.context("untrusted"))


@outage("certificate not yet valid", needs="tls")
def not_yet_valid(network):
    return speaking(network, network.certificates.context("future"))


@outage("certificate of another host", needs="tls")
def other_host(network):
    return speaking(network, network.certificates.context("other"))


@outage("plain HTTP where TLS is expected", needs="tls")
def plain(network):
    return speaking(network, None)


@outage("a TLS handshake that stalls", needs="tls")
def stalling_handshake(network):
    def never(connection):
        wait_for_end(connection, network.proxy.closing)
        raise OSError("it never spoke")

    return speaking(network, never)


NAME_FAULTS = {name for name, outage in OUTAGES.items() if outage.needs == "name"}
TLS_FAULTS = {name for name, outage in OUTAGES.items() if outage.needs == "tls"}


# --- Certificates. -------------------------------------------------------------------------------------------------


class Certificates:
    """Made by openssl. Who takes `trusted` for its list of authorities trusts all but the one that says otherwise."""

    NAMES = {"good": "IP:127.0.0.1", "untrusted": "IP:127.0.0.1", "future": "IP:127.0.0.1", "other": "DNS:a.test"}

    def __init__(self, directory):
        self.directory = directory
        self.trusted = os.path.join(directory, "trusted.pem")

    def make(self):
        os.makedirs(self.directory)
        for name, alternative in self.NAMES.items():
            self._make(name, alternative, "20990101000000Z" if name == "future" else None)
        with open(self.trusted, "w", encoding="utf-8") as trusted:
            for name in self.NAMES:
                if name != "untrusted":
                    with open(self._path(name, "pem"), encoding="utf-8") as one:
                        trusted.write(one.read())
        return self

    def context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._path(name, "pem"), self._path(name, "key"))
        return context

    def _path(self, name, suffix):
        return os.path.join(self.directory, f"{name}.{suffix}")

    def _make(self, name, alternative, starts):
        config, request = self._path(name, "config"), self._path(name, "request")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(directory=self.directory, name=name, alternative=alternative))
        open(self._path(name, "index"), "w", encoding="utf-8").close()
        key = self._path(name, "key")
        openssl = ["openssl", "req", "-new", "-config", config, "-newkey", "ec", "-nodes", "-out", request]
        openssl += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={name}", "-keyout", key]
        run(openssl)
        openssl = ["openssl", "ca", "-batch", "-selfsign", "-config", config, "-keyfile", key, "-notext"]
        openssl += ["-in", request, "-out", self._path(name, "pem"), "-days", "2", "-create_serial"]
        run([*openssl, "-startdate", starts, "-enddate", "21000101000000Z"] if starts else openssl)


CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
[ca]
default_ca = self
[self]
database = {directory}/{name}.index
new_certs_dir = {directory}
serial = {directory}/{name}.serial
default_md = sha256
policy = any
x509_extensions = extensions
[any]
commonName = supplied
[extensions]
subjectAltName = {alternative}
basicConstraints = critical, CA:TRUE
"""


def run(command):
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    assert said.returncode == 0, (command, said.stderr)
