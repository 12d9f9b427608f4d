"""The examples for clusters, which are not run here: what they say, by those who would have to understand it."""
import os
import pathlib
import re
import shlex
import subprocess

import kubernetes_validate
import pyspark
import pytest
import yaml

from downpour.programs import PREDICT, RUN, WORKER, find_program
from downpour.supervisor import check_job

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"
MANIFESTS = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
# Settings of which a part is anyone's own name.
OWN_NAMES = ("spark.executorEnv.", "spark.yarn.appMasterEnv.")


def manifests():
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def manifest(kind, name):
    (found,) = [each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def executor_template():
    return yaml.safe_load(manifest("ConfigMap", "downpour-executor")["data"]["executor.yaml"])


def driver():
    (container,) = manifest("Job", "train")["spec"]["template"]["spec"]["containers"]
    return container


@pytest.fixture(scope="module")
def known_options():
    """Options of spark-submit, by its own help."""
    submit = pathlib.Path(pyspark.__file__).parent / "bin" / "spark-submit"
    ended = subprocess.run([str(submit), "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=300)
    options = set(re.findall(r"(--[a-z][a-z-]+)", ended.stderr + ended.stdout))
    assert {"--master", "--conf", "--archives"} <= options
    return options


@pytest.fixture(scope="module")
def is_setting(spark):
    """Whether Spark has a setting of a name, for any of its cluster managers."""
    jvm = spark._jvm
    for settings in ("internal.config.package", "deploy.yarn.config.package", "deploy.k8s.Config"):
        kind = jvm.java.lang.Class.forName("org.apache.spark.%s$" % settings)
        kind.getField("MODULE$").get(None)  # which enters them where findEntry looks
    find = getattr(jvm, "org.apache.spark.internal.config.ConfigEntry$").__getattr__("MODULE$").findEntry
    return lambda name: find(name) is not None


def check_submission(words, known_options, is_setting):
    """The arguments of spark-submit: its options and settings, then a program and what that takes."""
    words = list(words)
    while words and words[0].startswith("--"):
        option, _, value = words.pop(0).partition("=")
        assert option in known_options, option
        value = value or words.pop(0)
        if option == "--conf":
            name = value.partition("=")[0]
            assert name.startswith(OWN_NAMES) or is_setting(name), name
    program = EXAMPLES / pathlib.Path(words.pop(0)).name
    taken = re.findall(r'add_argument\("(--\w+)"', program.read_text())
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    assert given and set(given) <= set(taken)


def test_yarn(tmp_path, known_options, is_setting):
    script = EXAMPLES / "yarn.sh"
    (tmp_path / "bin").mkdir()
    submit = tmp_path / "bin" / "spark-submit"
    submit.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    submit.chmod(0o755)
    command = [str(script), "environment.tar.gz", "hdfs:///data", "hdfs:///model"]
    environment = {"SPARK_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    words = ended.stdout.splitlines()
    assert "environment.tar.gz#environment" in words
    check_submission(words, known_options, is_setting)
    assert subprocess.run(command[:2], capture_output=True, text=True).stderr.strip().endswith(
        "usage: yarn.sh ENVIRONMENT.tar.gz TABLE MODEL")


def test_kubernetes_knows_what_the_manifests_say():
    for document in [*manifests(), executor_template()]:
        kubernetes_validate.validate(document, "1.30", strict=True)
    service = manifest("Service", "ps-server")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**service, "spec": {**service["spec"], "selectr": {}}}, "1.30", strict=True)


def test_the_driver_on_kubernetes(known_options, is_setting):
    assert driver()["command"][-1].endswith("/spark-submit")
    check_submission(driver()["args"], known_options, is_setting)
    ports = {port["port"] for port in manifest("Service", "train")["spec"]["ports"]}
    assert ports == {int(re.search(r"%s=(\d+)" % name, " ".join(driver()["args"])).group(1))
                     for name in ("spark.driver.port", "blockManager.port")}
    allowed = manifest("NetworkPolicy", "ps-server")["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    template = manifest("Job", "train")["spec"]["template"]
    for pod in (template, executor_template()):
        assert allowed.items() <= pod["metadata"]["labels"].items()


def test_the_servers_on_kubernetes_are_where_the_job_says(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(manifest("ConfigMap", "downpour-job")["data"]["job.yaml"])
    servers, service = manifest("StatefulSet", "ps-server"), manifest("Service", "ps-server")
    assert servers["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == servers["spec"]["template"]["metadata"]["labels"]
    assert check_job(str(path)).resolved["servers"]["addresses"] == [
        "ps-server-%d.ps-server:7100" % index for index in range(servers["spec"]["replicas"])]
    (container,) = servers["spec"]["template"]["spec"]["containers"]
    words = shlex.split(container["args"][0])
    program = pathlib.Path(find_program(RUN)).with_name(words[1])
    options = subprocess.run([str(program), "--help"], capture_output=True, text=True).stdout
    for word in words:
        assert not word.startswith("--") or word in options
    assert "0.0.0.0:7100" in words and "0.0.0.0:7200" in words


def test_the_image_has_the_libraries_of_the_programs():
    image = set((EXAMPLES / "kubernetes" / "Dockerfile").read_text().replace("\\\n", " ").split())
    programs = [find_program(name) for name in (RUN, WORKER, PREDICT, "ps-server")]
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    needed = packages_of(re.findall(r"=> (/\S+)", listed))
    assert "libprotobuf32" in needed
    assert not needed - closure(image)


def packages_of(libraries):
    """Debian's packages of libraries, which it may know by another path than the loader."""
    paths = {other for path in libraries
             for other in (path, path.replace("/lib/", "/usr/lib/", 1), os.path.realpath(path))}
    found = subprocess.run(["dpkg", "-S", *sorted(paths)], capture_output=True, text=True).stdout
    return {line.partition(":")[0] for line in found.splitlines()}


def closure(packages):
    """Packages with all that they depend on, as far as they are installed here."""
    command = ["dpkg-query", "-W", "-f", "${Package}\\t${Depends}, ${Pre-Depends}\\n"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    depends = {}
    for line in listed.splitlines():
        package, _, others = line.partition("\t")
        depends[package] = re.findall(r"(?:^|, |\| )([a-z0-9][a-z0-9+.-]+)", others)
    reached, open_ones = set(), [package for package in packages if package in depends]
    while open_ones:
        package = open_ones.pop()
        if package not in reached:
            reached.add(package)
            open_ones += [other for other in depends.get(package, ()) if other in depends]
    return reached
