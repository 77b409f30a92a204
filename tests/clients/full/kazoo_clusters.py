"""Fits kazoo's harness of three-server clusters to this test (pytest -p kazoo_clusters)."""
import os

import kazoo.testing.common as common

BASE = int(os.environ["KAZOO_PORT_BASE"])
PORTS_A_SERVER = 5
STOP_SECONDS = 20

# They come with TLS, SASL and dynamic reconfiguration, which the server does not have yet.
LEFT_OUT = (
    "TestSSLClient",
    "SASL",
    "TestReconfig",
    "test_add_remove_observer",
)

make_server_info = common.ServerInfo


def server_info(server_id, _client, _secure, _election, _leader, _admin, peer_type):
    """Ports of our own range; the harness would take every tenth from 20000."""
    first = BASE + (server_id - 1) * PORTS_A_SERVER
    client, election, leader, admin, secure = range(first, first + PORTS_A_SERVER)
    return make_server_info(server_id, client, secure, election, leader, admin, peer_type)


def stop(self):
    """As the harness does it, but a server that does not end is killed."""
    if not self.running:
        return
    self.process.terminate()
    try:
        self.process.wait(STOP_SECONDS)
    except Exception:
        self.process.kill()
        self.process.wait()
    self._running = False


common.ServerInfo = server_info
common.ManagedZooKeeper.stop = stop


def pytest_collection_modifyitems(config, items):
    if os.environ.get("KAZOO_EVERYTHING"):
        return
    left_out = [item for item in items if any(name in item.nodeid for name in LEFT_OUT)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
