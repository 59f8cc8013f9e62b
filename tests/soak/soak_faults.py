"""What a soak does to its processes and its network, one thing at a time, counted by kind."""

import contextlib
import os
import pathlib
import resource
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "behaviour"))
from proxy import Proxy  # noqa: E402


class Network:
    """A proxy before the primary for each replica, which harms some exchanges by chance, or waits for a commit to
    come by and then tells `at_commit`."""

    def __init__(self, primary_port, random, count):
        self.random = random
        self.lock = threading.Lock()
        self.rate = 0.0
        self.refuse = False
        self.at_commit = None  # ("before" or "after", what to do then), for once.
        self.done = {}
        self.proxy = Proxy(primary_port)
        self.proxy.disturb = self._disturb
        self.proxy.tamper = self._tamper
        self.count = count

    def url(self):
        return self.proxy.url()

    def heal(self):
        self.rate = 0.0
        self.refuse = False
        self.at_commit = None
        self.proxy.calls.clear()

    def close(self):
        self.proxy.close()

    def _take(self, call, when):
        with self.lock:
            if call == "commit" and self.at_commit is not None and self.at_commit[0] == when:
                action, self.at_commit = self.at_commit[1], None
                return action
        return None

    def _chance(self, kinds):
        with self.lock:
            if self.rate == 0.0 or self.random.random() > self.rate:
                return None, 0.0
            return self.random.choice(kinds), self.random.random()

    def _disturb(self, call):
        action = self._take(call, "before")
        if action is not None:
            delay = action()
            if delay is not None:
                return delay
        if self.refuse:
            self.count("refused connection")
            return "lose"
        kind, amount = self._chance(["lose", "twice", "late", "too late"])
        if kind is None:
            return None
        self.count({"lose": "lost request", "twice": "request twice"}.get(kind, kind + " request"))
        return {"late": amount * 0.3, "too late": 2 + 2 * amount}.get(kind, kind)

    def _tamper(self, call, answer):
        action = self._take(call, "after")
        if action is not None:
            action()
            answer.cut_at = 0
            return
        kind, amount = self._chance(["lost answer", "half answer", "flipped bit", "502"])
        if kind is None:
            return
        self.count(kind)
        if kind == "lost answer":
            answer.cut_at = 0
        elif kind == "half answer":
            answer.cut_at = int(amount * len(answer.body))
        elif kind == "flipped bit" and answer.body:
            answer.flip_bit(int(amount * len(answer.body)), int(amount * 1000) % 8)
        elif kind == "502":
            answer.become_html(502)


class Faults:
    """Does the faults that a phase names until it is told to stop; then all is well again."""

    def __init__(self, soak, kinds):
        self.soak = soak
        self.random = soak.random
        self.kinds = kinds

    def run(self, until):
        while time.monotonic() < until:
            time.sleep(self.random.uniform(0.3, 1.7))
            self.soak.look_after_workers()
            if self.kinds:
                getattr(self, self.random.choice(self.kinds))()
        self.heal()

    def heal(self):
        for network in self.soak.networks:
            network.heal()
        for group in self.soak.everybody():
            for process in group.processes:
                signal_to(process, signal.SIGCONT)
        if self.soak.primary.process is None:
            self.soak.primary.start()
        self.soak.primary.resume()

    def any_process(self):
        group = self.random.choice(self.soak.everybody())
        alive = [process for process in group.processes if process.poll() is None]
        return self.random.choice(alive) if alive else None

    # --- The kinds. ---

    def kill_application(self):
        process = self.any_process()
        if process is not None:
            signal_to(process, signal.SIGKILL)
            self.soak.count("kill of an application")

    def kill_replica(self):
        """All its processes at once, as a reset of its machine's software would."""
        group = self.random.choice(self.soak.groups)
        for process in group.processes:
            signal_to(process, signal.SIGKILL)
        self.soak.count("kill of all of a replica")

    def stop_application(self):
        process = self.any_process()
        if process is None:
            return
        signal_to(process, signal.SIGSTOP)
        time.sleep(self.random.uniform(0.05, 4))
        signal_to(process, signal.SIGCONT)
        self.soak.count("stop of an application")

    def kill_primary(self):
        self.soak.primary.kill()
        self.soak.count("kill of the primary")
        time.sleep(self.random.uniform(0, 3) ** 2 / 3)
        self.soak.primary.start()

    def restart_primary(self):
        self.soak.primary.restart()
        self.soak.count("restart of the primary")

    def stop_primary(self):
        self.soak.primary.pause()
        time.sleep(self.random.uniform(0.05, 4))
        self.soak.primary.resume()
        self.soak.count("stop of the primary")

    def bad_network(self):
        for network in self.soak.networks:
            network.rate = self.random.choice([0, 0.02, 0.1])
        time.sleep(self.random.uniform(1, 5))
        for network in self.soak.networks:
            network.rate = 0

    def no_network(self):
        network = self.random.choice(self.soak.networks)
        network.refuse = True
        time.sleep(self.random.uniform(0.1, 5))
        network.refuse = False

    def kill_at_a_commit(self):
        """Somebody dies when a commit has come to the primary's door, or when its answer is on the way."""
        network = self.random.choice(self.soak.networks)
        who = self.random.choice(["application", "primary"])
        when = self.random.choice(["before", "after"])
        done = threading.Event()
        group = self.soak.groups[self.soak.networks.index(network)]

        def die():
            if who == "application":
                for process in group.processes:
                    signal_to(process, signal.SIGKILL)
            else:
                os.kill(self.soak.primary.process.pid, signal.SIGKILL)
            done.set()

        network.at_commit = (when, die)
        done.wait(5)
        with network.lock:
            network.at_commit = None
        if done.is_set():
            self.soak.count(f"kill of the {who} {when} a commit at the primary")
            if who == "primary":
                self.soak.primary.kill()
                self.soak.primary.start()

    def cut_at_a_commit(self):
        """The network ends with a commit on the way, until the application was told that the outcome is unknown."""
        network = self.random.choice(self.soak.networks)
        kind = self.random.choice(["lost", "answer lost", "arrives after all"])
        done = threading.Event()

        def cut():
            network.refuse = True
            done.set()
            return self.random.uniform(3, 7) if kind == "arrives after all" else None

        network.at_commit = ("after" if kind == "answer lost" else "before", cut)
        done.wait(5)
        with network.lock:
            network.at_commit = None
        if done.is_set():
            self.soak.count(f"network gone at a commit ({kind})")
            time.sleep(self.random.uniform(2, 5))
            network.refuse = False

    def no_space(self):
        """A process may not write beyond a size, which is how a full disk looks, with another errno."""
        process = self.any_process()
        if process is None:
            return
        limit = int(self.random.uniform(0.6, 4) * (1 << 20))
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            time.sleep(self.random.uniform(0.2, 3))
            resource.prlimit(
                process.pid,
                resource.RLIMIT_FSIZE,
                (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
            )
            self.soak.count("no space for an application")


def signal_to(process, number):
    """To a worker; it may be dead already."""
    if process.poll() is None:
        process.send_signal(number)
