"""A process of a soak that writes at the primary itself, over Hrana, while replicas commit pages.

    soak_sql_client.py JSON     what it is told, as soak_worker.py; its only slot is the first one of its board
"""

import http.client
import json
import random
import sys
import time
import urllib.parse

import soak_board as boards
import soak_schema as schema

TIMEOUT = 4


class SqlClient:
    def __init__(self, settings):
        self.url = urllib.parse.urlsplit(settings["uri"])
        self.board = boards.Board(settings["boards"][settings["replica"]], settings["board_slots"])
        self.name = settings["names"][0]
        self.round = settings["round"]
        self.random = random.Random(settings["seed"])
        self.notes = boards.Notebook(f"{settings['notes']}-0.notes")

    def run(self):
        while (command := self.board.command()) != boards.QUIT:
            self.board.set_idle(0, command == boards.PAUSE)
            if command == boards.RUN:
                self.transact()
            time.sleep(self.random.random() * 0.05)
        self.board.set_idle(0, True)

    def transact(self):
        number = self.board.next_number(0)
        mark = f"'{self.name}', {number}"
        operations, sql = self.random.choice([self.append, self.transfer])(number)
        sql += f"INSERT INTO parts VALUES({mark}, 0, x'00'); INSERT INTO marks VALUES({mark}, 1);"
        self.notes.note("try", self.name, number, "sql", operations)
        outcome = self.ask(f"BEGIN IMMEDIATE; {sql} COMMIT;")
        self.notes.note("end", self.name, number, outcome)
        if outcome == "ok":
            self.board.acknowledge(0, number)

    def append(self, number):
        key = f"{self.round}/{self.random.randrange(6)}"
        value = f"{self.name}/{number}"
        return [("append", key, value)], (
            f"INSERT INTO lists VALUES('{key}', '{value} ')"
            f" ON CONFLICT(key) DO UPDATE SET items = items || '{value} ';"
        )

    def transfer(self, _number):
        source, target = self.random.sample(range(schema.ACCOUNTS), 2)
        return [], (
            f"UPDATE accounts SET balance = balance + CASE id WHEN {source} THEN -1 ELSE 1 END"
            f" WHERE id IN ({source}, {target})"
            f" AND (SELECT balance FROM accounts WHERE id = {source}) > 0;"
        )

    def ask(self, sql):
        """ok, failed or unknown."""
        requests = [{"type": "sequence", "sql": sql}, {"type": "close"}]
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=TIMEOUT)
        try:
            connection.connect()
        except OSError:
            time.sleep(0.1)
            return "failed"
        try:
            body = json.dumps({"baton": None, "requests": requests})
            connection.request("POST", f"{self.url.path}/v2/pipeline", body)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                return "unknown"
            result = json.loads(text)["results"][0]
        except (OSError, http.client.HTTPException, ValueError):
            return "unknown"
        finally:
            connection.close()
        if result["type"] == "ok":
            return "ok"
        code = result["error"].get("code") or ""
        self.notes.note("refused", code)
        return "unknown" if code.startswith("SQLITE_IOERR") else "failed"


if __name__ == "__main__":
    SqlClient(json.loads(sys.argv[1])).run()
