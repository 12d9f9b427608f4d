"""Counts what bazel test and pytest ran, names what was skipped or failed, and prints the summary line.

    count_tests.py FOLDER

FOLDER holds bazel.json (Bazel's build events, one JSON object a line), pytest.xml (JUnit) and, if processes were left
running, a file `leftovers`. A C++ test counts its Catch2 test cases; a test without Catch2's summary counts one. A
test target that crashed, timed out or could not be built counts one failure. A C++ test case that cannot run here
prints a line "SKIPPED: name: reason" and counts as skipped. Exit status 1 if anything failed or nothing ran.
"""
import json
import pathlib
import re
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

ALL_PASSED = re.compile(r"^All tests passed \(.* in (\d+) test cases?\)", re.M)
SOME_FAILED = re.compile(r"^test cases: +(\d+)(.*)$", re.M)
SKIPPED = re.compile(r"^SKIPPED: ([^:\n]+): (.*)$", re.M)


class Count:
    def __init__(self):
        self.passed = 0
        self.failures = []  # names
        self.skips = []     # (name, reason)

    def line(self):
        text = "%d passed, %d failed" % (self.passed, len(self.failures))
        return text + (", %d skipped" % len(self.skips) if self.skips else "")


def count_log(label, succeeded, log, count):
    """Adds one C++ test's log to the count."""
    passed = failed = 0
    for match in ALL_PASSED.finditer(log):
        passed += int(match.group(1))
    for match in SOME_FAILED.finditer(log):
        wrong = re.search(r"(\d+) failed", match.group(2))
        failed += int(wrong.group(1)) if wrong else 0
        passed += int(match.group(1)) - (int(wrong.group(1)) if wrong else 0)
    skips = SKIPPED.findall(log)
    if succeeded and passed == 0:
        passed = 1
    if not succeeded and failed == 0:
        failed = 1
    count.passed += max(0, passed - len(skips))
    count.skips += [("%s %s" % (label, name), reason) for name, reason in skips]
    count.failures += [label] * failed


def count_bazel(events, count):
    """Adds the tests of a stream of build events. Logs are read from where the events say they are."""
    tests, ended = [], set()
    for line in filter(str.strip, events):
        event = json.loads(line)
        kind = event["id"]
        if "targetConfigured" in kind and event.get("configured", {}).get("testSize"):
            tests.append(kind["targetConfigured"]["label"])
        elif "testSummary" in kind and "testSummary" in event:
            label, summary = kind["testSummary"]["label"], event["testSummary"]
            logs = [_read(entry["uri"]) for key in ("passed", "failed") for entry in summary.get(key, [])]
            count_log(label, summary["overallStatus"] in ("PASSED", "FLAKY"), "\n".join(logs), count)
            ended.add(label)
    count.failures += [label + " (not built or not run)" for label in tests if label not in ended]


def _read(uri):
    path = urllib.request.url2pathname(urllib.parse.urlparse(uri).path)
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""


def count_pytest(xml, count):
    """Adds the test cases of a JUnit report."""
    for case in ElementTree.fromstring(xml).iter("testcase"):
        name = "%s.%s" % (case.get("classname", ""), case.get("name", ""))
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            count.failures.append(name)
        elif skip is not None:
            count.skips.append((name, skip.get("message", "")))
        else:
            count.passed += 1


def count_folder(folder):
    """Counts everything that a run of tools/test left in a folder."""
    count = Count()
    for name, reader in (("bazel.json", lambda text: count_bazel(text.splitlines(), count)),
                         ("pytest.xml", lambda text: count_pytest(text, count))):
        path = folder / name
        if path.exists():
            reader(path.read_text())
        else:
            count.failures.append(name + " is missing: the test runner did not end in order")
    leftovers = folder / "leftovers"
    if leftovers.exists():
        count.failures += leftovers.read_text().splitlines()
    return count


def main(folder):
    count = count_folder(pathlib.Path(folder))
    for name, reason in count.skips:
        print("skipped: %s: %s" % (name, reason))
    for name in count.failures:
        print("failed: %s" % name)
    print(count.line())
    return 1 if count.failures or count.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
