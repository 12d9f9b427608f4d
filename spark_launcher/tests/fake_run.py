"""A stand-in for ps-run: checks a job, or supervises one without servers until its workers have left done-P files.

In mode peer it listens for its workers, who need no answer, and leaves a file "released" when they may end.

Job: {"folder": ..., "workers": ..., "run": "refuses" | "does not start" | "ends badly" | "dies",
"summary": what stands in summary.json besides}.
"""
import argparse
import json
import os
import select
import signal
import socket
import sys
import time


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("job")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--launcher")
    parser.add_argument("--cluster-file")
    parser.add_argument("--lifeline-fd", type=int)
    parser.add_argument("--run-dir")
    options = parser.parse_args()
    with open(options.job) as file:
        job = json.load(file)
    behaviour = job.get("run")
    if options.check:
        if behaviour == "refuses":
            print("job.yaml:3: unknown key 'learnin_rate'; did you mean 'learning_rate'?", file=sys.stderr)
            sys.exit(64)
        values = 1
        for side in job["data"]["shape"]:
            values *= side
        print(json.dumps({"ok": True, "job": job, "strong": job["sync"]["mode"] in ("bsp", "peer"),
                          "net": {"values": values, "outputs": 10, "classes": 10, "parameters": 10 * values}}))
        return
    assert options.launcher == "external"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    if behaviour == "does not start":
        print("port 4711 is in use", file=sys.stderr)
        sys.exit(69)
    folder = job["folder"]
    with open(os.path.join(folder, "pid-run"), "w") as file:
        file.write(str(os.getpid()))
    run_dir = options.run_dir or os.path.join(folder, "run")
    os.makedirs(os.path.join(run_dir, "logs"))
    mode = job["sync"]["mode"]
    rendezvous = socket.create_server(("127.0.0.1", 0)) if mode == "peer" else None
    with open(options.cluster_file + ".new", "w") as file:
        json.dump({"servers": [] if rendezvous else ["127.0.0.1:1", "127.0.0.1:2"],
                   "rendezvous": "127.0.0.1:%d" % rendezvous.getsockname()[1] if rendezvous else "",
                   "job_file": os.path.abspath(options.job),
                   "run_dir": run_dir, "workers": job["workers"], "strong": mode in ("bsp", "peer")}, file)
    os.rename(options.cluster_file + ".new", options.cluster_file)
    done = [os.path.join(folder, "done-%d" % partition) for partition in range(job["workers"])]
    while not all(os.path.exists(path) for path in done):
        if behaviour == "dies" and all(os.path.exists(path.replace("done-", "feed-")) for path in done):
            with open(os.path.join(run_dir, "summary.json"), "w") as file:
                json.dump({"problems": ["worker 1 is gone", "that is bad"]}, file)
            sys.exit(1)
        if select.select([options.lifeline_fd], [], [], 0.05)[0]:
            sys.exit(75)
    if behaviour == "ends badly":
        print("the model could not be written", file=sys.stderr)
        sys.exit(70)
    with open(os.path.join(run_dir, "summary.json"), "w") as file:
        json.dump({"accuracy": 0.9, **job.get("summary", {})}, file)
    time.sleep(0.5)
    with open(os.path.join(folder, "released"), "w"):
        pass


main()
