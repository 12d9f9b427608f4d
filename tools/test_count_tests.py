"""Tests of count_tests.py."""
import importlib.util
import json
import pathlib

import pytest

_spec = importlib.util.spec_from_file_location("count_tests", pathlib.Path(__file__).with_name("count_tests.py"))
count_tests = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(count_tests)

RULE = "=" * 79


@pytest.mark.parametrize("succeeded, log, passed, failed, skipped", [
    (True, RULE + "\nAll tests passed (12 assertions in 3 test cases)\n", 3, 0, 0),
    (True, "All tests passed (1 assertion in 1 test case)\n", 1, 0, 0),
    (False, "test cases:  5 |  3 passed | 2 failed\nassertions: 9 | 7 passed | 2 failed\n", 3, 2, 0),
    (False, "test cases: 2 | 2 failed\nassertions: 2 | 2 failed\n", 0, 2, 0),
    (True, "test cases: 4 | 3 passed | 1 failed as expected\n", 3, 1, 0),
    (True, "a shell test\n", 1, 0, 0),
    (False, "Segmentation fault\n", 0, 1, 0),
    (False, "All tests passed (2 assertions in 2 test cases)\nleak found at exit\n", 2, 1, 0),
    (True, "SKIPPED: sgemm: no GPU\nAll tests passed (2 assertions in 2 test cases)\n", 1, 0, 1),
])
def test_a_log(succeeded, log, passed, failed, skipped):
    count = count_tests.Count()
    count_tests.count_log("//a:b", succeeded, log, count)
    assert (count.passed, len(count.failures), len(count.skips)) == (passed, failed, skipped)


def event(kind, label, **payload):
    return json.dumps({"id": {kind: {"label": label}}, **payload})


def write_run(folder, events, xml='<testsuite><testcase classname="t" name="a"/></testsuite>'):
    (folder / "bazel.json").write_text("\n".join(events) + "\n")
    (folder / "pytest.xml").write_text(xml)


def test_a_run(tmp_path, capsys):
    log = tmp_path / "a test.log"
    log.write_text("All tests passed (4 assertions in 2 test cases)\n")
    write_run(tmp_path, [
        event("targetConfigured", "//a:lib", configured={"targetKind": "cc_library rule"}),
        event("targetConfigured", "//a:t", configured={"testSize": "MEDIUM"}),
        event("testSummary", "//a:t", testSummary={"overallStatus": "PASSED", "passed": [{"uri": log.as_uri()}]}),
    ], '<testsuites><testsuite><testcase classname="t" name="a"/><testcase classname="t" name="b">'
       '<skipped message="no torch"/></testcase></testsuite></testsuites>')
    assert count_tests.main(tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == ["skipped: t.b: no torch", "3 passed, 0 failed, 1 skipped"]


def test_a_target_that_did_not_build_is_a_failure(tmp_path, capsys):
    write_run(tmp_path, [event("targetConfigured", "//a:t", configured={"testSize": "MEDIUM"})])
    assert count_tests.main(tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 1 failed"


def test_a_crash_without_a_log_is_a_failure(tmp_path):
    write_run(tmp_path, [event("testSummary", "//a:t", testSummary={
        "overallStatus": "TIMEOUT", "failed": [{"uri": (tmp_path / "gone").as_uri()}]})])
    assert count_tests.count_folder(tmp_path).failures == ["//a:t"]


def test_failing_and_erring_python_tests(tmp_path):
    write_run(tmp_path, [], '<testsuite><testcase classname="t" name="a"><failure/></testcase>'
                            '<testcase classname="t" name="b"><error/></testcase></testsuite>')
    assert count_tests.count_folder(tmp_path).failures == ["t.a", "t.b"]


def test_a_missing_report_and_a_process_left_behind_are_failures(tmp_path):
    write_run(tmp_path, [])
    (tmp_path / "pytest.xml").unlink()
    (tmp_path / "leftovers").write_text("left running: 12 ps-server\n")
    assert len(count_tests.count_folder(tmp_path).failures) == 2


def test_nothing_run_is_not_success(tmp_path):
    write_run(tmp_path, [], "<testsuite/>")
    assert count_tests.main(tmp_path) == 1
