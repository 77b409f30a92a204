#!/usr/bin/env python3
"""The notify protocol of systemd with a real server and a real socket: this script is the manager.

usage: tests/control/notify.py [PROGRAM]; the last line is `N passed, M failed, K skipped`.
"""
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ZKSERVER", REPO + "/target/release/zkserver")
PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000
PATIENCE = 30.0
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Manager:
    """A socket, and the server that speaks to it."""

    def __init__(self, folder, abstract=False, config="", micros=None, pid=None):
        self.folder, self.messages = folder, []
        name = "\0ringkeeper-test-%d" % os.getpid() if abstract else os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.config = os.path.join(folder, "zoo.cfg")
        with open(self.config, "w") as file:
            file.write(f"dataDir={folder}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
                       f"admin.enableServer=false\n4lw.commands.whitelist=*\n{config}\n")
        environment = dict(os.environ, NOTIFY_SOCKET=name.replace("\0", "@"))
        if micros is not None:
            environment["WATCHDOG_USEC"] = str(micros)
        if pid is not None:
            environment["WATCHDOG_PID"] = pid
        self.log = open(os.path.join(folder, "log"), "w")
        self.server = subprocess.Popen([PROGRAM, "start-foreground", self.config], env=environment,
                                       stdout=self.log, stderr=self.log)

    def hear(self, seconds):
        """The next message and when it came; None if there is none for so long."""
        self.socket.settimeout(max(seconds, 0.001))
        try:
            text = self.socket.recv(4096).decode()
        except (TimeoutError, BlockingIOError):
            return None
        self.messages.append(text)
        return text

    def wait_for(self, wanted, seconds=PATIENCE):
        """Hears until a message has this line; that message, or None."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            text = self.hear(left)
            if text is not None and wanted in text.split("\n"):
                return text
        return None

    def beats(self, seconds):
        """How many times the watchdog is fed in so many seconds, and the longest pause."""
        count, pause, last, end = 0, 0.0, time.monotonic(), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.hear(left) == "WATCHDOG=1":
                now = time.monotonic()
                count, pause, last = count + 1, max(pause, now - last), now
        return count, max(pause, time.monotonic() - last)

    def serves(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                client.sendall(b"srvr")
                client.settimeout(5)
                return b"Mode: " in client.recv(4096)
        except OSError:
            return False

    def thread(self, name):
        base = f"/proc/{self.server.pid}/task"
        for task in os.listdir(base):
            with open(f"{base}/{task}/comm") as file:
                if file.read().strip() == name:
                    return int(task)
        raise AssertionError(f"no thread {name}")

    def end(self):
        if self.server.poll() is None:
            self.server.kill()
        self.server.wait()
        self.socket.close()
        self.log.close()


def ready_when_serving(manager):
    text = manager.wait_for("READY=1")
    assert text, f"no READY=1 among {manager.messages}"
    assert manager.serves(), "it said READY=1 before it served"
    assert manager.messages[0] == "STATUS=recovering", manager.messages
    assert f"MAINPID={manager.server.pid}" in text.split("\n"), text
    assert f"STATUS=standalone; clients connect to 127.0.0.1:{manager.port}" in text.split("\n"), text
    assert manager.hear(0.5) is None, f"nobody asked for a watchdog: {manager.messages}"


def stopping(manager):
    assert manager.wait_for("READY=1")
    manager.server.send_signal(signal.SIGTERM)
    assert manager.wait_for("STOPPING=1"), manager.messages
    assert manager.server.wait(PATIENCE) == 0
    assert sum("READY=1" in text for text in manager.messages) == 1, manager.messages


def stop_thread(task):
    assert libc.ptrace(PTRACE_ATTACH, task, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(task, WALL)


def watchdog(manager):
    assert manager.wait_for("READY=1")
    count, pause = manager.beats(9)
    assert count >= 3 and pause <= 4.0, f"{count} beats, at most {pause:.2f} s apart, half the time-out is 4 s"
    task = manager.thread("zab")
    stop_thread(task)
    try:
        manager.beats(4.1)  # a beat that was answered already may still come
        count, _ = manager.beats(6)
        assert count == 0, f"{count} beats though the zab thread stands"
    finally:
        libc.ptrace(PTRACE_DETACH, task, None, None)
    assert manager.wait_for("WATCHDOG=1"), "the thread turns again, but is not vouched for"


def no_watchdog(manager):
    assert manager.wait_for("READY=1")
    assert manager.beats(1)[0] == 0, "the watchdog is another process's"


def never_ready(code):
    def case(manager):
        assert manager.server.wait(PATIENCE) == code
        while manager.hear(0.1) is not None:
            pass
        assert not any("READY=1" in text for text in manager.messages), manager.messages
    return case


def gone(manager):
    manager.socket.close()
    end = time.monotonic() + PATIENCE
    while not manager.serves():
        assert time.monotonic() < end and manager.server.poll() is None, "it does not serve"
    manager.server.send_signal(signal.SIGTERM)
    assert manager.server.wait(PATIENCE) == 0


CASES = [
    ("READY=1 once it serves", ready_when_serving, {}),
    ("READY=1 over an abstract socket", ready_when_serving, {"abstract": True}),
    ("STOPPING=1 as it stops", stopping, {}),
    ("WATCHDOG=1 while the zab thread turns", watchdog, {"micros": 8_000_000}),
    ("no WATCHDOG=1 for another process's watchdog", no_watchdog, {"micros": 400_000, "pid": "1"}),
    ("a wrong configuration: code 2, never ready", never_ready(2), {"config": "tickTime=soon"}),
    ("an unusable data directory: code 3, never ready", never_ready(3), {"config": "datadir.autocreate=false"}),
    ("a manager that does not listen", gone, {}),
]


def run(name, case, options):
    folder = tempfile.mkdtemp(prefix="ringkeeper-notify.")
    manager = None
    try:
        manager = Manager(folder, **options)
        case(manager)
        print(f"ok      {name}")
        return True
    except AssertionError as error:
        print(f"FAILED  {name}: {error}")
        print(f"  replay: {sys.argv[0]} {PROGRAM}")
        with open(os.path.join(folder, "log")) as log:
            print("".join("        " + line for line in log.readlines()[-10:]))
        return False
    finally:
        if manager:
            manager.end()
        shutil.rmtree(folder)


def main():
    results = [run(*case) for case in CASES]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed, 0 skipped")
    sys.exit(0 if all(results) else 1)


main()
