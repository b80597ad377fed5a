"""The measured client, started by writer.rs: steady writers that reconnect and remember.

usage: writer.py CONNINFO WRITERS RUN

Each writer inserts one numbered row after another, each in a commit of its own. When its session
breaks it logs in again, through libpq, and waits for its login as a patient application would.
While it runs, a line of JSON a quarter of a second says how the writers do; when its input closes
it stops them and says everything on a last line.
"""

import json
import select
import sys
import threading
import time
from collections import Counter

import psycopg
from psycopg import pq

PACE = 0.02  # seconds between an acknowledged row and the next one
RETRY = 0.02  # seconds after a refused login
LOGIN_BOUND = 60.0  # a login that takes longer counts as refused
HELD = 0.2  # a login slower than this was held
READ_ONLY = "25006"

INSERT = "INSERT INTO trunkline_writes (run, writer, number) VALUES (%s, %s, %s)"


class Writer(threading.Thread):
    def __init__(self, conninfo, run, index, stopping):
        super().__init__(daemon=True)
        self.conninfo, self.run_name, self.index, self.stopping = conninfo, run, index, stopping
        self.acknowledged = []  # (when, number)
        self.logins = []  # seconds each successful login took
        self.refusals = Counter()  # text of a refused login -> how often
        self.breaks = Counter()  # text of a failed write -> how often
        self.read_only = 0

    def run(self):
        number = 0
        while not self.stopping.is_set():
            session = self.log_in()
            if session is None:
                time.sleep(RETRY)
                continue
            try:
                with session:
                    while not self.stopping.is_set():
                        number += 1
                        session.execute(INSERT, (self.run_name, self.index, number))
                        self.acknowledged.append((time.monotonic(), number))
                        time.sleep(PACE)
            except psycopg.Error as error:
                if error.sqlstate == READ_ONLY:
                    self.read_only += 1
                self.breaks[first_line(error)] += 1

    def log_in(self):
        began = time.monotonic()
        connection = connect(self.conninfo, began + LOGIN_BOUND, self.stopping)
        took = time.monotonic() - began
        if self.stopping.is_set():
            return None
        if isinstance(connection, str):
            self.refusals[connection] += 1
            return None
        self.logins.append(took)
        # No prepared statements: a session moved by a pooler or router must not depend on one.
        session = psycopg.Connection(connection)
        session.autocommit = True
        session.prepare_threshold = None
        return session


def connect(conninfo, deadline, stopping):
    """libpq's own connecting (PQconnectPoll), several hosts included; a text if it failed.

    psycopg.connect() would walk through the hosts itself, and libpq is what is to be measured.
    """
    connection = pq.PGconn.connect_start(conninfo.encode())
    state = pq.PollingStatus.WRITING
    while state != pq.PollingStatus.OK:
        if state == pq.PollingStatus.FAILED or connection.status == pq.ConnStatus.BAD:
            return first_line(connection.get_error_message())
        if stopping.is_set() or time.monotonic() > deadline:
            return f"no login within {LOGIN_BOUND:.0f} s"
        socket = [connection.socket]
        reading = socket if state == pq.PollingStatus.READING else []
        writing = socket if state == pq.PollingStatus.WRITING else []
        if any(select.select(reading, writing, [], 0.25)):
            state = connection.connect_poll()
    connection.nonblocking = 1
    return connection


def first_line(error):
    return (str(error).strip().splitlines() or ["(no message)"])[0]


def milliseconds(seconds):
    return round(seconds * 1000, 1)


def longest_gap(moments):
    return milliseconds(max((b - a for a, b in zip(moments, moments[1:])), default=0.0))


def behind(writers, now):
    """How long ago the writer that is worst off had its last row acknowledged."""
    last = [writer.acknowledged[-1][0] if writer.acknowledged else None for writer in writers]
    return None if None in last else milliseconds(now - min(last))


def report(writers, ended):
    # The end is a moment like an acknowledgement: an outage that never ended must not be missed.
    moments = [[when for when, _ in writer.acknowledged] + [ended] for writer in writers]
    logins = [took for writer in writers for took in writer.logins]
    return {
        "outage_ms": longest_gap(sorted(moment for each in moments for moment in each)),
        "writer_outages_ms": [longest_gap(each) for each in moments],
        "logins": len(logins),
        "logins_held": sum(took > HELD for took in logins),
        "longest_login_ms": milliseconds(max(logins, default=0.0)),
        "refusals": sum((writer.refusals for writer in writers), Counter()),
        "breaks": sum((writer.breaks for writer in writers), Counter()),
        "read_only": sum(writer.read_only for writer in writers),
        "acknowledged": [[number for _, number in writer.acknowledged] for writer in writers],
    }


def main(conninfo, count, run):
    stopping = threading.Event()
    writers = [Writer(conninfo, run, index, stopping) for index in range(int(count))]
    for writer in writers:
        writer.start()
    while not select.select([sys.stdin], [], [], 0.25)[0]:
        print(json.dumps({"behind": behind(writers, time.monotonic())}), flush=True)
    ended = time.monotonic()
    stopping.set()
    for writer in writers:
        writer.join(timeout=5)
    print(json.dumps({"report": report(writers, ended)}), flush=True)


main(*sys.argv[1:])
