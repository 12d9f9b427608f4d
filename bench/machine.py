"""What figures were seen on."""

import os
import pathlib
import platform


def machine():
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = "unknown"
    for line in cpuinfo.splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    vectors = "AVX-512" if "avx512f" in cpuinfo else "AVX2" if "avx2" in cpuinfo else "SSE"
    return f"{model}, {os.cpu_count()} cores, {vectors}, {platform.system()} {platform.release()}"
