"""usage: reconnect.py PORT FILE: holds a session, touches FILE, and waits until it is back after a restart."""
import pathlib
import sys
import threading

from kazoo.client import KazooClient, KazooState

port, ready = sys.argv[1:]
client = KazooClient(hosts=f"127.0.0.1:{port}", timeout=20.0, connection_retry={"max_tries": -1, "max_delay": 0.2})
lost, suspended, back = threading.Event(), threading.Event(), threading.Event()


def on_state(state):
    if state == KazooState.LOST:
        lost.set()
    elif state == KazooState.SUSPENDED:
        suspended.set()
    elif suspended.is_set():
        back.set()


client.add_listener(on_state)
client.start(timeout=15)
session = client.client_id[0]
client.create("/restart", b"before", ephemeral=True)
fired = threading.Event()
client.get("/restart", watch=lambda event: fired.set())
pathlib.Path(ready).touch()
assert back.wait(60), "no connection after the restart"
assert not lost.is_set() and client.client_id[0] == session, "the session was lost"
data, stat = client.get("/restart")
assert data == b"before" and stat.ephemeralOwner == session, "the ephemeral was lost"
client.set("/restart", b"after")
assert fired.wait(20), "the watch was not set again"
client.stop()
