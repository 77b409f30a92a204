"""Four-letter words, parsed as kazoo and the monitoring tools parse them (go-zookeeper's FLWSrvr and FLWCons, mntr)."""
import os
import re
import socket

import pytest
from kazoo.client import KazooClient

PORT = int(os.environ["PORT"])


def ask(word):
    with socket.create_connection(("127.0.0.1", PORT), 10) as connection:
        connection.sendall(word)
        text = b""
        while chunk := connection.recv(65536):
            text += chunk
    return text.decode()


@pytest.fixture(scope="module", autouse=True)
def client():
    client = KazooClient(hosts=f"127.0.0.1:{PORT}", timeout=10.0)
    client.start(timeout=15)
    client.create("/words", b"x", ephemeral=True)
    client.get("/words", watch=lambda event: None)
    client.get_children("/", watch=lambda event: None)
    yield client
    client.stop()
    client.close()


SRVR = re.compile(
    r"\AZookeeper version: (\d+\.\d+\.\d+)-.*, built on .*\n"
    r"Latency min/avg/max: \d+/\d+(\.\d+)?/\d+\n"
    r"Received: \d+\n"
    r"Sent: \d+\n"
    r"Connections: \d+\n"
    r"Outstanding: \d+\n"
    r"Zxid: 0x[0-9a-f]+\n"
    r"Mode: standalone\n"
    r"Node count: \d+\n\Z"
)
SESSION_LINE = re.compile(
    r"^ /127\.0\.0\.1:\d+\[\d+\]\(queued=\d+,recved=\d+,sent=\d+,sid=0x[0-9a-f]+,lop=[A-Z]+,est=\d+,to=\d+,"
    r"lcxid=0x[0-9a-f]+,lzxid=0x[0-9a-f]+,lresp=\d+,llat=\d+,minlat=\d+,avglat=\d+,maxlat=\d+\)$",
    re.M,
)


def test_srvr():
    assert SRVR.match(ask(b"srvr")), ask(b"srvr")


def test_version_is_3_9():
    assert ask(b"srvr").startswith("Zookeeper version: 3.9."), ask(b"srvr")


def test_kazoo_reads_the_version(client):
    assert client.server_version()[:2] == (3, 9)


def test_stat():
    text = ask(b"stat")
    version, rest = text.split("\n", 1)
    assert version.startswith("Zookeeper version: ")
    assert rest.startswith("Clients:\n /127.0.0.1:")
    clients, numbers = rest.split("\n\n", 1)
    for line in clients.split("\n")[1:]:
        assert re.fullmatch(r" /127\.0\.0\.1:\d+\[\d+\]\(queued=\d+,recved=\d+,sent=\d+\)", line), line
    assert SRVR.match(version + "\n" + numbers), text


def test_cons():
    text = ask(b"cons")
    assert SESSION_LINE.search(text), text
    assert text.endswith("\n\n"), repr(text)


def test_short_words():
    assert ask(b"ruok") == "imok"
    assert ask(b"isro") == "rw"
    assert ask(b"gtmk").isdigit()
    assert ask(b"stmk" + (306).to_bytes(8, "big")) == "306"
    assert ask(b"crst") == "Connection stats reset.\n"
    assert ask(b"srst") == "Server stats reset.\n"
    assert re.fullmatch(r"datadir_size: \d+\nlogdir_size: \d+\n", ask(b"dirs"))


def test_conf():
    keys = [line.split("=")[0] for line in ask(b"conf").splitlines()]
    assert keys == [
        "clientPort", "secureClientPort", "dataDir", "dataDirSize", "dataLogDir", "dataLogSize", "tickTime",
        "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout", "clientPortListenBacklog", "serverId",
    ]  # fmt: skip


def test_envi():
    lines = ask(b"envi").splitlines()
    assert lines[0] == "Environment:"
    keys = [line.split("=")[0] for line in lines[1:]]
    assert keys[:3] == ["zookeeper.version", "host.name", "java.version"]
    for key in ("java.vendor", "java.io.tmpdir", "os.name", "os.arch", "user.name", "user.home", "user.dir"):
        assert key in keys
    assert lines[1].startswith("zookeeper.version=3.9.")


def test_dump(client):
    text = ask(b"dump")
    session = f"0x{client.client_id[0]:x}"
    assert text.startswith("SessionTracker dump:\nSession Sets ("), text
    assert re.search(r"^\d+ expire at .*:$", text, re.M), text
    assert f"\t{session}\n" in text
    assert re.search(r"^ephemeral nodes dump:\nSessions with Ephemerals \(\d+\):\n", text, re.M), text
    assert f"{session}:\n\t/words\n" in text
    assert re.search(r"^Connections dump:\nConnections Sets \(\d+\)/\(\d+\):\n", text, re.M), text
    assert re.search(rf"^\tip: /127\.0\.0\.1:\d+ sessionId: {session}$", text, re.M), text


def test_watches(client):
    session = f"0x{client.client_id[0]:x}"
    assert re.fullmatch(r"\d+ connections watching \d+ paths\nTotal watches:\d+\n", ask(b"wchs"))
    assert f"{session}\n\t/words\n" in ask(b"wchc")
    assert f"/words\n\t{session}\n" in ask(b"wchp")


def test_a_connection_whose_watches_fired_is_listed_until_it_closes():
    other = KazooClient(hosts=f"127.0.0.1:{PORT}", timeout=10.0)
    other.start(timeout=15)
    session = f"0x{other.client_id[0]:x}"
    other.create("/fired", b"x", ephemeral=True)
    other.get("/fired", watch=lambda event: None)
    counted = int(ask(b"wchs").split()[0])
    other.set("/fired", b"y")
    assert "/fired" not in ask(b"wchp")
    assert re.search(rf"^{session}\n(?!\t)", ask(b"wchc"), re.M), ask(b"wchc")
    assert int(ask(b"wchs").split()[0]) == counted
    other.stop()
    other.close()


def test_mntr():
    values = {}
    for line in ask(b"mntr").splitlines():
        key, value = line.split("\t")
        assert key.startswith("zk_")
        values[key] = value
    assert values["zk_server_state"] == "standalone"
    assert values["zk_version"].startswith("3.9.")
    for key in (
        "avg_latency", "max_latency", "min_latency", "packets_received", "packets_sent", "num_alive_connections",
        "outstanding_requests", "znode_count", "watch_count", "ephemerals_count", "approximate_data_size",
        "open_file_descriptor_count", "max_file_descriptor_count", "global_sessions", "uptime", "commit_count",
        "digest_mismatches_count", "connection_rejected", "avg_readlatency", "p99_readlatency", "p999_updatelatency",
        "cnt_fsynctime", "sum_snapshottime", "stale_sessions_expired", "snap_count", "bytes_received_count",
    ):  # fmt: skip
        float(values[f"zk_{key}"])
    assert int(values["zk_ephemerals_count"]) >= 1
    assert int(values["zk_znode_count"]) >= 6


def test_trailing_newline_is_drained():
    for word in (b"srvr\n", b"srvr\r\n"):
        assert SRVR.match(ask(word))


def test_half_closed_peer_is_answered():
    with socket.create_connection(("127.0.0.1", PORT), 10) as connection:
        connection.sendall(b"ruok")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"imok"


def test_unknown_word_is_closed():
    assert ask(b"xxxx") == ""
