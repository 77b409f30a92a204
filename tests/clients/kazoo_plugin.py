"""Points kazoo's own tests at servers that run already (pytest -p kazoo_plugin; KAZOO_SERVERS=host:port)."""
import os
import time

import kazoo.testing.harness as harness

SERVERS = os.environ["KAZOO_SERVERS"].split(",")

# They stop or start servers, or want TLS, SASL, read-only mode or a quorum of the harness's own.
LEFT_OUT = (
    "TestReadOnlyMode",
    "TestSSLClient",
    "SASL",
    "TestReconfig",
    "test_add_remove_observer",
    "test_update_host_list",
    "test_request_queuing",
)


class RunningServer:
    """What the harness asks of a server, for one that is not the harness's to manage."""

    running = True

    def __init__(self, address):
        self.address = self.secure_address = address
        self.host, port = address.rsplit(":", 1)
        self.client_port = int(port)

    def run(self):
        pass

    def stop(self):
        raise RuntimeError("this server is not the test's to stop")


class RunningCluster(list):
    """What the harness asks of its cluster."""

    def start(self):
        pass

    def stop(self):
        pass

    def terminate(self):
        pass

    def get_logs(self):
        return []

    def reset(self):
        raise RuntimeError("this server is not the test's to reset")

    expire_session = reset


CLUSTER = RunningCluster(RunningServer(address) for address in SERVERS)
harness.get_global_cluster = lambda: CLUSTER


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.cls and item.cls.__name__ == "KazooPartitionerTests":
            # It asserts that a watch was handled 0.1 s after the change: too soon for a busy machine.
            item.cls._KazooPartitionerTests__wait = lambda self: time.sleep(1)
    left_out = [item for item in items if any(name in item.nodeid for name in LEFT_OUT)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
