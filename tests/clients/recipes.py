"""What applications do with kazoo, each against a real server ($PORT)."""
import os
import threading
import uuid

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
)
from kazoo.recipe.watchers import ChildrenWatch, DataWatch
from kazoo.security import make_digest_acl

HOSTS = f"127.0.0.1:{os.environ['PORT']}"


@pytest.fixture
def connect():
    """Makes clients, and stops them all in the end."""
    clients = []

    def make(**options):
        client = KazooClient(hosts=HOSTS, timeout=10.0, **options)
        clients.append(client)
        client.start(timeout=15)
        return client

    yield make
    for client in clients:
        client.stop()
        client.close()


@pytest.fixture
def root(connect):
    path = f"/recipes-{uuid.uuid4().hex}"
    connect().ensure_path(path)
    return path


def test_data_and_versions(connect, root):
    client = connect()
    path = client.create(f"{root}/a", b"one")
    data, stat = client.get(path)
    assert (data, stat.version, stat.data_length, stat.numChildren) == (b"one", 0, 3, 0)
    stat = client.set(path, b"two", version=0)
    assert stat.version == 1
    with pytest.raises(BadVersionError):
        client.set(path, b"three", version=0)
    with pytest.raises(NodeExistsError):
        client.create(path)
    client.create(f"{path}/child")
    with pytest.raises(NotEmptyError):
        client.delete(path)
    client.delete(path, recursive=True)
    assert client.exists(path) is None
    with pytest.raises(NoNodeError):
        client.get(path)


def test_lock_passes_from_one_to_the_next(connect, root):
    order = []
    holds = threading.Event()
    first, second = connect(), connect()
    lock = first.Lock(f"{root}/lock", "first")
    lock.acquire()

    def wait():
        other = second.Lock(f"{root}/lock", "second")
        holds.set()
        with other:
            order.append("second")

    thread = threading.Thread(target=wait)
    thread.start()
    assert holds.wait(10)
    while len(lock.contenders()) < 2:
        pass
    assert lock.contenders() == ["first", "second"]
    order.append("first")
    lock.release()
    thread.join(10)
    assert order == ["first", "second"]


def test_lock_of_a_closed_session_is_free(connect, root):
    holder, waiter = connect(), connect()
    holder.Lock(f"{root}/lock").acquire()
    holder.stop()
    assert waiter.Lock(f"{root}/lock").acquire(timeout=10)


def test_read_and_write_locks(connect, root):
    first, second = connect(), connect()
    read = first.ReadLock(f"{root}/rw")
    also = second.ReadLock(f"{root}/rw")
    assert read.acquire(timeout=10) and also.acquire(timeout=10)
    assert not second.WriteLock(f"{root}/rw").acquire(blocking=False)
    read.release()
    also.release()
    assert second.WriteLock(f"{root}/rw").acquire(timeout=10)


def test_semaphore(connect, root):
    clients = [connect() for _ in range(3)]
    semaphores = [client.Semaphore(f"{root}/semaphore", max_leases=2) for client in clients]
    assert semaphores[0].acquire(timeout=10) and semaphores[1].acquire(timeout=10)
    assert not semaphores[2].acquire(blocking=False)
    semaphores[0].release()
    assert semaphores[2].acquire(timeout=10)


def test_election(connect, root):
    led = []
    done = threading.Semaphore(0)

    def candidate(name):
        def lead():
            led.append(name)
            done.release()

        connect().Election(f"{root}/election", name).run(lead)

    threads = [threading.Thread(target=candidate, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        assert done.acquire(timeout=20)
        thread.join(20)
    assert sorted(led) == ["0", "1", "2", "3"]


def test_watchers(connect, root):
    client, writer = connect(), connect()
    seen, families = [], []
    changed = threading.Semaphore(0)
    writer.create(f"{root}/watched", b"0")

    def on_data(data, _stat):
        seen.append(data)
        changed.release()

    def on_children(children):
        families.append(sorted(children))
        changed.release()

    DataWatch(client, f"{root}/watched", on_data)
    ChildrenWatch(client, f"{root}/watched", on_children)
    for _ in range(2):
        assert changed.acquire(timeout=10)
    writer.set(f"{root}/watched", b"1")
    assert changed.acquire(timeout=10)
    writer.create(f"{root}/watched/x")
    assert changed.acquire(timeout=10)
    writer.delete(f"{root}/watched/x")
    assert changed.acquire(timeout=10)
    assert seen == [b"0", b"1"] and families == [[], ["x"], []]


def test_transactions(connect, root):
    client = connect()
    transaction = client.transaction()
    transaction.create(f"{root}/t", b"x")
    transaction.set_data(f"{root}/t", b"y")
    transaction.check(f"{root}/t", 1)
    transaction.delete(f"{root}/t")
    results = transaction.commit()
    assert results[0] == f"{root}/t" and results[2:] == [True, True]
    transaction = client.transaction()
    transaction.create(f"{root}/t")
    transaction.check(f"{root}/none", 1)
    transaction.create(f"{root}/u")
    results = transaction.commit()
    assert isinstance(results[0], RolledBackError) and isinstance(results[1], NoNodeError)
    assert client.exists(f"{root}/t") is None


def test_queue_counter_barrier_party(connect, root):
    client = connect()
    queue = client.LockingQueue(f"{root}/queue")
    queue.put_all([b"a", b"b"])
    for item in (b"a", b"b"):
        assert queue.get(10) == item
        queue.consume()
    counter = client.Counter(f"{root}/counter")
    for _ in range(10):
        counter += 2
    assert counter.value == 20
    party, other = client.Party(f"{root}/party", "a"), connect().Party(f"{root}/party", "b")
    party.join()
    other.join()
    assert sorted(party) == ["a", "b"]
    barrier = client.Barrier(f"{root}/barrier")
    barrier.create()
    assert not barrier.wait(0)
    barrier.remove()
    assert barrier.wait(10)


def test_sequence_and_ephemeral(connect, root):
    client, other = connect(), connect()
    names = [client.create(f"{root}/n-", sequence=True, ephemeral=True) for _ in range(3)]
    assert [name[-10:] for name in names] == ["0000000000", "0000000001", "0000000002"]
    assert client.get(names[0])[1].ephemeralOwner == client.client_id[0]
    client.stop()
    assert other.get_children(root) == []


def test_auth(connect, root):
    client = connect(auth_data=[("digest", "bob:pw")])
    client.create(f"{root}/mine", b"secret", acl=[make_digest_acl("bob", "pw", all=True)])
    stranger = connect()
    with pytest.raises(NoAuthError):
        stranger.get(f"{root}/mine")
    stranger.add_auth("digest", "bob:pw")
    assert stranger.get(f"{root}/mine")[0] == b"secret"
    with pytest.raises(AuthFailedError):
        connect().add_auth("nonsense", "x")


def test_read_only_flag(connect, root):
    client = connect(read_only=True)
    client.create(f"{root}/rw", b"")
    assert client.exists(f"{root}/rw")


def test_large_data_and_many_children(connect, root):
    client = connect()
    data = b"x" * 1_000_000
    client.create(f"{root}/large", data)
    assert client.get(f"{root}/large")[0] == data
    results = [client.create_async(f"{root}/large/{n:05}") for n in range(5000)]
    for result in results:
        result.get(30)
    assert len(client.get_children(f"{root}/large")) == 5000
    client.delete(f"{root}/large", recursive=True)
