"""The most memory that a Python process of its own has held."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

# On Linux not `ru_maxrss`: over fork and exec it keeps what the process of the tests had held.
_TELL = """
finally:
    import pathlib, re, resource
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        kilobytes = int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1])
    else:
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print("peak", kilobytes)
"""


def run_measured(code: str, folder: Path = ROOT) -> tuple[subprocess.CompletedProcess[str], int]:
    """A Python process that has run `code` in `folder`, without its last line of output, and its peak in megabytes."""
    indented = "".join(f"    {line}\n" for line in code.strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", f"try:\n{indented}{_TELL}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    found = re.search(r"peak (\d+)\s*\Z", done.stdout)
    assert found, done.stderr
    done.stdout = done.stdout[: found.start()]
    return done, int(found[1]) // 1024
