"""P1 to P3 over a network that loses, delays, repeats, cuts and garbles what it carries."""

import os
import random
import sqlite3
import threading
import time

from appender import CLEAN_FAILURES, final_lists, history_of, make_lists, run_appender
from harness import (
    OUTCOME_UNKNOWN,
    REMOTE,
    BehaviourTest,
    Replica,
    error_code,
    main,
    seconds,
    seeded_random,
    wait_until,
)
from list_append import anomalies


# A libSQL server keeps its slot, sqld for five seconds, for whoever does not end a transaction: until then nobody settles
# what is under way, and few succeed.
LATE = 8.0 if REMOTE == "sqld" else 3.0
LEAST = 50 if REMOTE == "turso-primary" else 5


class Faults:
    """Harms some exchanges of a proxy, by chance."""

    def __init__(self, proxy, seed, rate):
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.rate = rate
        self.done = {}
        proxy.disturb = self.disturb
        proxy.tamper = self.tamper

    def choose(self, call, kinds):
        with self.lock:
            if self.random.random() > self.rate:
                return None, 0.0
            kind = self.random.choice(kinds)
            self.done[call, kind] = self.done.get((call, kind), 0) + 1
            return kind, self.random.random()

    def disturb(self, call):
        kind, amount = self.choose(call, ["lose", "twice", "late", "too late"])
        if kind == "late":
            return amount * 0.2
        return 1.2 + amount if kind == "too late" else kind

    def tamper(self, call, answer):
        kind, amount = self.choose(call, ["cut", "flip", "html", "502"])
        if kind == "cut":
            answer.cut_at = int(amount * len(answer.body))
        elif kind == "flip" and answer.body:
            answer.flip_bit(int(amount * len(answer.body)), int(amount * 1000) % 8)
        elif kind is not None:
            answer.become_html(200 if kind == "html" else 502)


class BadNetwork(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.proxies = []

    def proxied(self, name, **options):
        proxy = self.proxy_before(self.server)
        self.proxies.append(proxy)
        os.mkdir(self.path(name))
        return Replica(self.path(f"{name}/{name}.db"), proxy.url(), timeout="1s", **options)

    def test_the_history_is_serializable_over_a_bad_network(self):
        generator = seeded_random("bad network")
        replicas = [self.proxied(f"replica{n}") for n in range(3)]
        make_lists(self.open(replicas[0]))
        for replica in replicas[1:]:
            self.open(replica).execute("SELECT turso_sync()")
        faults = [Faults(proxy, generator.random(), 0.02) for proxy in self.proxies]
        reports = [self.report(f"p{n}") for n in range(4)]
        duration = seconds(15)
        children = [
            self.spawn(
                f"p{n}",
                run_appender,
                replicas[n % 3],
                f"p{n}",
                generator.random(),
                reports[n],
                duration,
            )
            for n in range(4)
        ]
        for child in children:
            child.finish(timeout=duration + 60)
        for proxy in self.proxies:
            proxy.disturb = proxy.tamper = None
        self.check(replicas, reports)
        print(*(fault.done for fault in faults), sep="\n")

    def check(self, replicas, reports):
        time.sleep(2.5)  # What is still under way arrives.
        answers = []
        for replica in replicas:
            db = self.open(replica, with_url=False)
            # Settles what is open.
            self.write_in_the_end(db, "UPDATE lists SET items = items WHERE key = 0")
            db.execute("SELECT turso_sync()")
            self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())
        for replica in replicas:
            db = self.open(replica, with_url=False)
            db.execute("SELECT turso_sync()")
            answers.append(final_lists(db))
        self.server.stop()
        final = final_lists(self.keep(self.server.open_file()))
        history, outcomes = history_of(reports)
        print(f"{outcomes}, appended: {sum(map(len, final.values()))}")
        self.assertLessEqual(set(outcomes), {"ok", "failed", "unknown"})
        self.assertGreater(outcomes["ok"], LEAST)
        self.assertEqual([], anomalies(history, final)[:5])
        for answer in answers:
            self.assertEqual(final, answer)

    def table(self):
        direct = self.open(self.replica(self.server, "direct"))
        direct.execute("CREATE TABLE t(a)")
        app = self.open(self.proxied("app", sync_interval="off"))
        app.execute("SELECT turso_sync()")
        return direct, app, self.proxies[0]

    def once(self, proxy, call, disturbance):
        happened = []

        def disturb(called):
            if called != call or happened:
                return None
            happened.append(called)
            return disturbance

        proxy.disturb = disturb
        return happened

    def count(self, db):
        db.execute("SELECT turso_sync()")
        return db.execute("SELECT count(*) FROM t").fetchone()[0]

    def test_a_commit_that_arrives_after_it_was_settled_does_not_happen(self):
        direct, app, proxy = self.table()
        happened = self.once(proxy, "commit", LATE)
        code = None
        try:
            app.execute("INSERT INTO t VALUES('late')")
        except sqlite3.Error as error:
            code = error_code(error)
        self.assertEqual(["commit"], happened)
        self.assertIn(code, {OUTCOME_UNKNOWN, *CLEAN_FAILURES})
        self.write_in_the_end(app, "INSERT INTO t VALUES('after')")
        self.assertEqual(1, self.count(direct))
        time.sleep(LATE + 0.5)
        self.assertEqual([("after",)], direct.execute("SELECT a FROM t").fetchall())
        self.assertEqual(1, self.count(direct))
        self.assertEqual(1, self.count(app))

    def test_a_commit_that_arrives_twice_happens_once(self):
        direct, app, proxy = self.table()
        for number in range(1, 6):
            happened = self.once(proxy, "commit", "twice")
            app.execute("INSERT INTO t VALUES(?)", (number,))
            self.assertEqual(["commit"], happened)
            self.assertEqual(number, self.count(direct))

    def test_a_commit_whose_answer_is_lost_is_found_out_about(self):
        direct, app, proxy = self.table()
        for number in range(1, 6):
            cut = []

            def lose_answer(called, answer, cut=cut):
                if called == "commit" and not cut:
                    cut.append(called)
                    answer.cut_at = 0

            proxy.tamper = lose_answer
            app.execute("INSERT INTO t VALUES(?)", (number,))
            self.assertEqual(["commit"], cut)
            self.assertEqual(number, self.count(direct))
            self.assertEqual(number, self.count(app))

    def test_an_unknown_outcome_is_settled_by_the_next_process_after_a_kill(self):
        direct, _, proxy = self.table()
        for number in range(1, 4):
            writer = self.client(self.proxied_again(proxy), name=f"writer{number}")
            cut = []

            def lose_all_after_commit(called, cut=cut):
                if called == "commit":
                    cut.append(called)
                    return None
                return "lose" if cut else None

            def lose_answer(called, answer):
                if called == "commit":
                    answer.cut_at = 0

            proxy.disturb, proxy.tamper = lose_all_after_commit, lose_answer
            writer.ask_later("INSERT INTO t VALUES('at the primary')")
            wait_until(lambda cut=cut: cut, what="the commit")
            if number == 1:
                error = self.fails(writer.answer)
                self.assert_code(error, OUTCOME_UNKNOWN)
            writer.kill()
            proxy.disturb = proxy.tamper = None
            again = self.open(self.proxied_again(proxy))
            again.execute("SELECT turso_sync()")
            self.assertEqual(number, self.count(again), "what is at the primary is not here")
            again.close()
            self.assertEqual(number, self.count(direct))

    def proxied_again(self, proxy):
        return Replica(self.path("app/app.db"), proxy.url(), timeout="1s", sync_interval="off")


if __name__ == "__main__":
    main()
