"""The native programs that the package carries, and what to say where one cannot be started."""
from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
from typing import Optional

WORKER = "ps-worker"
SERVER = "ps-server"
RUN = "ps-run"
PREDICT = "ps-predict"
WRONG_CPU = "this host's CPU lacks an instruction that the program uses"


def find_program(name: str, explicit: Optional[str] = None) -> str:
    """Path of a program: `explicit` if given, else the package's own. FileNotFoundError if there is none."""
    path = explicit or os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", name)
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, "%s is not there%s" % (
            name, "" if explicit else ": this package was installed without its programs; install the wheel that"
                                      " tools/build makes"), path)
    return path


def why_not_found(error: FileNotFoundError) -> str:
    """One sentence for an error of find_program."""
    return "%s (looked for %s)" % (error.strerror, error.filename)


def why_not_started(program: str, error: OSError) -> str:
    """One sentence for an OSError from starting a program that find_program found."""
    machine = "%s, %s" % (platform.machine(), " ".join(platform.libc_ver()).strip() or "no glibc")
    if error.errno == errno.ENOEXEC:
        return "%s is not a program for this machine (%s)" % (program, machine)
    if error.errno == errno.ENOENT:
        return "%s needs a dynamic loader that is not here (%s): it was built for x86-64 Linux with glibc" % (
            program, machine)
    if error.errno == errno.EACCES:
        return "%s may not be executed: its mode lacks x, or its file system is mounted noexec" % program
    return "%s cannot be started: %s" % (program, error.strerror)


def loader_hint(stderr: str) -> str:
    """What to do where the dynamic loader refused a program; "" if it did not."""
    if "error while loading shared libraries" in stderr:
        return "a library that the program needs is not installed on this host (Debian's packages of it are listed in" \
               " tools/debian-packages.txt)"
    if "GLIBC" in stderr and "not found" in stderr:
        return "this host's C or C++ library is older than the one the program was built with"
    return ""


def why_not_running(program: str, timeout_s: float = 30.0) -> str:
    """One sentence for why a program does not run on this host, found by having it print its help; "" if it runs."""
    try:
        ended = subprocess.run([program, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, timeout=timeout_s, check=False)
    except OSError as error:
        return why_not_started(program, error)
    except subprocess.TimeoutExpired:
        return "%s has not printed its help for %g s" % (program, timeout_s)
    if ended.returncode == 0:
        return ""
    if ended.returncode == -signal.SIGILL:
        return "%s was killed: %s" % (program, WRONG_CPU)
    said = ended.stderr.decode("utf-8", "replace").strip()
    lines = [loader_hint(said)] + said.splitlines()[:1]
    how = "was killed by signal %d" % -ended.returncode if ended.returncode < 0 else (
        "ends with status %d" % ended.returncode)
    return "%s %s%s" % (program, how, "".join(": " + line for line in lines if line))
