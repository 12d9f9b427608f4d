"""Runs the ps-server binary as a person or a supervisor would."""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest
import urllib.request

BINARY = os.path.abspath(os.environ.get("PS_SERVER", "bazel-bin/ps/ps-server"))

JOB = """
name: binary-test
workers: 2
servers: {addresses: ["127.0.0.1:0"]}
net:
  - {name: fc, type: inner_product, outputs: 10}
  - {name: loss, type: softmax_loss}
"""


class PsServerTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.config = self.write("job.yaml", JOB)

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self, *flags, **options):
        self.log = os.path.join(self.folder.name, "server.log")
        process = subprocess.Popen(
            [BINARY, "--config", self.config, "--log-file", self.log, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        self.addCleanup(self.end, process)
        ready, _, _ = select.select([process.stdout], [], [], 30)
        self.assertTrue(ready, "no line on standard output")
        return process, json.loads(process.stdout.readline())

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def run_to_end(self, *flags):
        done = subprocess.run([BINARY, *flags], capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout, done.stderr

    def test_listens_reports_and_drains_on_sigterm(self):
        for end in (signal.SIGTERM, signal.SIGINT):
            process, line = self.start()
            self.assertEqual(line["event"], "listening")
            self.assertEqual(line["index"], 0)
            self.assertEqual(line["pid"], process.pid)
            host, port = line["address"].rsplit(":", 1)
            socket.create_connection((host, int(port))).close()
            process.send_signal(end)
            out, err = process.communicate(timeout=10)
            self.assertEqual((process.returncode, out, err), (0, "", ""))
        with open(self.log) as file:
            lines = file.read().splitlines()
        self.assertTrue(lines)
        for text in lines:
            self.assertRegex(text, r"^\d{4}-\d\d-\d\dT[\d:.]+Z \w+ \[job=binary-test server=0.*\] \S")
        self.assertIn("drain", lines[-2])

    def test_metrics(self):
        process, line = self.start()
        for _ in range(2):
            text = urllib.request.urlopen(f"http://{line['metrics']}/metrics", timeout=10).read().decode()
        for name in ("downpour_pushes_total", "downpour_staleness_updates_bucket",
                     "downpour_apply_seconds_sum", "downpour_refused_frames_total", "downpour_workers",
                     "downpour_build_info"):
            self.assertRegex(text, rf"(?m)^{name}{{")
        self.assertIn('downpour_workers{job="binary-test",state="absent"} 2', text)
        if shutil.which("promtool"):
            families = re.split(r"\n(?=# HELP)", text)
            ours = "\n".join(family for family in families if family.startswith("# HELP downpour"))
            check = subprocess.run(["promtool", "check", "metrics"], input=ours + "\n", text=True,
                                   capture_output=True)
            self.assertEqual((check.returncode, check.stdout, check.stderr), (0, "", ""))

    def test_ends_with_its_supervisor(self):
        ours, theirs = os.pipe()
        process, _ = self.start("--lifeline-fd", str(ours), pass_fds=[ours])
        os.close(ours)
        os.write(theirs, b"still here")
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(0.3)
        os.close(theirs)
        self.assertEqual(process.wait(10), 75)

    def test_port_in_use(self):
        _, line = self.start()
        for flag, address in (("--listen", line["address"]), ("--metrics", line["metrics"])):
            code, out, err = self.run_to_end("--config", self.config, flag, address)
            self.assertEqual((code, out), (69, ""))
            said = [text for text in err.splitlines() if text.startswith("ps-server: ")]
            self.assertEqual(len(said), 1, err)
            self.assertIn(address, said[0])
            self.assertIn("in use", said[0])

    def test_unix_socket(self):
        path = os.path.join(self.folder.name, "ps.sock")
        process, line = self.start("--listen", "unix:ps.sock", cwd=self.folder.name)
        self.assertEqual(line["address"], "unix:" + os.path.join(os.path.realpath(self.folder.name), "ps.sock"))
        for text in (path, os.path.join(self.folder.name, "none", "ps.sock"), self.config):
            code, out, err = self.run_to_end("--config", self.config, "--listen", "unix:" + text)
            self.assertEqual((code, out), (69, ""), err)
            self.assertIn(f"can't listen on unix:{text}: ", err)
        code, out, err = self.run_to_end("--config", self.config, "--listen", "unix:" + path)
        self.assertIn(f"process {process.pid} listens there", err)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        process.kill()
        process.wait()
        self.assertTrue(os.path.exists(path))
        process, line = self.start("--listen", "unix:" + path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        process.terminate()
        self.assertEqual(process.wait(10), 0)
        self.assertFalse(os.path.exists(path))

    def test_wrong_usage(self):
        bad = self.write("bad.yaml", JOB + "optimzer: {name: sgd}\n")
        for flags, named in ((["--config", os.path.join(self.folder.name, "none.yaml")], "none.yaml"),
                             (["--config", bad], "optimizer"),
                             (["--config", self.config, "--index", "1"], "servers.addresses"),
                             (["--config", self.config, "--listen", "nowhere"], "nowhere"),
                             (["--config", self.config, "--listen", "unix:/" + "p" * 107], "a path of 108 bytes"),
                             (["--config", self.config, "--metrics", "unix:/tmp/m"], "is not host:port"),
                             (["--config", self.config, "--lifeline-fd", "99"], "99"),
                             (["--config", self.config, "--frobnicate"], "frobnicate"),
                             ([], "--config")):
            code, out, err = self.run_to_end(*flags)
            self.assertEqual((code, out), (64, ""), err)
            self.assertIn(named, err)

    def test_version(self):
        code, out, _ = self.run_to_end("--version")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^ps-server \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    unittest.main()
