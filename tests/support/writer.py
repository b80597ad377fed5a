"""The measured client, started by writer.rs: steady writers and idle sessions that reconnect and remember.

usage: writer.py CONNINFO WRITERS IDLE RUN

Each writer inserts one numbered row after another, each in a commit of its own, and is told with each row
which node took it, on which timeline. An idle session asks once where it landed and then says nothing, as a
pool's spare connection. When a session breaks its owner logs in again, through libpq, and waits for its
login as a patient application would. While it runs, a line of JSON a quarter of a second says how the
writers do; when its input closes it stops them and says everything on a last line.
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

NODE = "host(inet_server_addr()) || ':' || inet_server_port()"
# The first eight digits of a WAL file's name are its timeline.
INSERT = f"""
    INSERT INTO trunkline_writes (run, writer, number) VALUES (%s, %s, %s)
    RETURNING {NODE}, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
"""
WHERE = f"SELECT {NODE}, pg_is_in_recovery()"


class Client(threading.Thread):
    """Keeps one session, and remembers every one it had."""

    def __init__(self, conninfo, stopping):
        super().__init__(daemon=True)
        self.conninfo, self.stopping = conninfo, stopping
        self.acknowledged = []  # (number, when sent, when acknowledged, node, timeline)
        self.sessions = []  # {opened, closed, node, reads_only}
        self.logins = []  # seconds each successful login took
        self.refusals = Counter()  # text of a refused login -> how often
        self.breaks = Counter()  # text of the end of a session that its client did not end -> how often
        self.errors = Counter()  # text of a write refused by a session that stands -> how often
        self.read_only = 0

    def run(self):
        while not self.stopping.is_set():
            connection = self.log_in()
            if connection is None:
                time.sleep(RETRY)
                continue
            session = {"opened": time.monotonic(), "closed": None, "node": None, "reads_only": False}
            self.sessions.append(session)
            try:
                with connection:
                    self.use(connection, session)
            except psycopg.Error as error:
                if error.sqlstate == READ_ONLY:
                    self.read_only += 1
                    session["reads_only"] = True
                # No state: the connection is gone. 57P..: the server ended the session and said so.
                ended = error.sqlstate is None or error.sqlstate.startswith("57P")
                (self.breaks if ended else self.errors)[first_line(error)] += 1
            session["closed"] = time.monotonic()

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


class Writer(Client):
    def __init__(self, conninfo, stopping, run, index):
        super().__init__(conninfo, stopping)
        self.run_name, self.index, self.number = run, index, 0

    def use(self, connection, session):
        while not self.stopping.is_set():
            self.number += 1
            sent = time.monotonic()
            row = (self.run_name, self.index, self.number)
            node, timeline = connection.execute(INSERT, row).fetchone()
            self.acknowledged.append((self.number, sent, time.monotonic(), node, int(timeline, 16)))
            session["node"] = node
            time.sleep(PACE)


class Idler(Client):
    def use(self, connection, session):
        session["node"], session["reads_only"] = connection.execute(WHERE).fetchone()
        while not self.stopping.is_set():
            if any(select.select([connection.fileno()], [], [], 0.25)):
                connection.pgconn.consume_input()
                if connection.pgconn.status == pq.ConnStatus.BAD:
                    raise psycopg.OperationalError(connection.pgconn.get_error_message())


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
    last = [writer.acknowledged[-1][2] if writer.acknowledged else None for writer in writers]
    return None if None in last else milliseconds(now - min(last))


def report(writers, idlers, began, ended):
    # The end is a moment like an acknowledgement: an outage that never ended must not be missed.
    moments = [[row[2] for row in writer.acknowledged] + [ended] for writer in writers]
    clients = writers + idlers
    logins = [took for client in clients for took in client.logins]

    def total(name):
        return sum((getattr(client, name) for client in clients), Counter())

    def since(moment):
        return milliseconds((ended if moment is None else moment) - began)

    def row(number, sent, acknowledged, node, timeline):
        return number, since(sent), since(acknowledged), node, timeline

    sessions = [session for client in clients for session in client.sessions]
    return {
        "outage_ms": longest_gap(sorted(moment for each in moments for moment in each)),
        "writer_outages_ms": [longest_gap(each) for each in moments],
        "logins": len(logins),
        "logins_held": sum(took > HELD for took in logins),
        "longest_login_ms": milliseconds(max(logins, default=0.0)),
        "refusals": total("refusals"),
        "breaks": total("breaks"),
        "errors": total("errors"),
        "read_only": sum(client.read_only for client in clients),
        "sessions": [{**each, "opened": since(each["opened"]), "closed": since(each["closed"])} for each in sessions],
        "acknowledged": [[row(*each) for each in writer.acknowledged] for writer in writers],
    }


def main(conninfo, count, idle, run):
    began = time.monotonic()
    stopping = threading.Event()
    writers = [Writer(conninfo, stopping, run, index) for index in range(int(count))]
    idlers = [Idler(conninfo, stopping) for _ in range(int(idle))]
    for client in writers + idlers:
        client.start()
    while not select.select([sys.stdin], [], [], 0.25)[0]:
        print(json.dumps({"behind": behind(writers, time.monotonic())}), flush=True)
    ended = time.monotonic()
    stopping.set()
    for client in writers + idlers:
        client.join(timeout=5)
    print(json.dumps({"report": report(writers, idlers, began, ended)}), flush=True)


main(*sys.argv[1:])
