"""A stand-in for ps-worker: reads the feed by the contract's page, keeps it in a file, and misbehaves as its job says.

Job: {"folder": where to write feed-P and pid-P, "worker": {partition: behaviour}}; without a behaviour it does well.
"""
import argparse
import json
import os
import signal
import struct
import sys
import time


def say(event, **members):
    print(json.dumps({"event": event, **members}), flush=True)


def read(fd, size):
    data = b""
    while len(data) < size:
        chunk = os.read(fd, size - len(data))
        if not chunk:
            sys.exit(75)
        data += chunk
    return data


def stay_until(feed, condition):
    """Exits once the launcher has closed the feed."""
    while not condition():
        time.sleep(0.05)
        try:
            if os.read(feed, 1) == b"":
                sys.exit(75)
        except BlockingIOError:
            pass


def main():
    parser = argparse.ArgumentParser()
    for name in ("--config", "--servers", "--log-file", "--listen", "--rendezvous", "--spool-dir"):
        parser.add_argument(name)
    for name in ("--partition", "--stage-attempt", "--task-attempt", "--feed-fd", "--memory-bytes"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    with open(options.config) as file:
        job = json.load(file)
    partition, folder, feed = options.partition, job["folder"], options.feed_fd
    behaviour = job.get("worker", {}).get(str(partition))
    with open(os.path.join(folder, "pid-%d" % partition), "w") as file:
        file.write(str(os.getpid()))
    if options.log_file:
        with open(options.log_file, "w") as file:
            file.write("".join("log line %d\n" % i for i in range(60)))
    say("started", partition=partition, pid=os.getpid(), servers=options.servers.split(",") if options.servers else [])
    if job["sync"]["mode"] == "peer":
        assert options.rendezvous and not options.servers
        say("listening", partition=partition, address=options.listen, metrics="")

    if behaviour == "fails early":
        print("a line on standard error", file=sys.stderr)
        say("failed", partition=partition, reason="no server at 127.0.0.1:1", hint="start it")
        sys.exit(69)
    if behaviour == "stalls":
        time.sleep(600)
    if behaviour == "ignores signals":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("deaf")
        time.sleep(600)
    if behaviour == "closes the feed":
        os.close(feed)
        time.sleep(600)
    if behaviour == "lacks a library":
        print("ps-worker: error while loading shared libraries: libgrpc.so.29: cannot open", file=sys.stderr)
        sys.exit(127)
    if behaviour == "is slow":
        time.sleep(0.5)
    if behaviour in ("waits", "waits for nothing"):
        for _ in range(12):
            say("waiting", partition=partition, attempt="0.3", host="node3", pid=1, silent_ms=10)
            time.sleep(0.1)
        if behaviour == "waits for nothing":
            say("done", partition=partition, steps=7, samples=70, loss=0.25, seconds=3.0, epochs=[])
            sys.exit(0)
    if behaviour == "prints garbage":
        os.write(1, b"\xff\xfe garbage\n[1, 2]\n{\"event\": \"unheard of\"}\n\n")

    with open(os.path.join(folder, "feed-%d" % partition), "wb") as kept:
        rows = 0
        while True:
            header = read(feed, 16)
            magic, kind, reserved, length = struct.unpack("<4sHHQ", header)
            assert (magic, reserved) == (b"DPF1", 0)
            body = read(feed, length)
            kept.write(header + body)
            if kind == 2:
                rows += struct.unpack_from("<I", body)[0]
                if behaviour in ("is killed", "is killed late"):
                    time.sleep(1 if behaviour == "is killed late" else 0)
                    os.kill(os.getpid(), signal.SIGKILL)
                if behaviour == "loses a peer":
                    say("failed", partition=partition, reason="server 1 at 127.0.0.1:2 was lost", hint="")
                    sys.exit(69)
            if kind == 3:
                break
        assert struct.unpack("<Q", body)[0] == rows
    say("loaded", partition=partition, samples=rows, bytes=0)
    os.set_blocking(feed, False)
    if behaviour == "does not end":
        stay_until(feed, lambda: not os.path.exists(folder))
    if behaviour != "says nothing":
        say("done", partition=partition, steps=rows // 10, samples=rows, loss=0.5 if rows else None, seconds=0.1)
    with open(os.path.join(folder, "done-%d" % partition), "w"):
        pass
    if behaviour == "fails when all is done":
        time.sleep(3)
        sys.exit(70)
    if behaviour == "stays when all is done":
        stay_until(feed, lambda: not os.path.exists(folder))
    if options.rendezvous and behaviour != "says nothing":
        stay_until(feed, lambda: os.path.exists(os.path.join(folder, "released")))


main()
