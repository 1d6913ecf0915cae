"""The most memory that a Python process of its own has held."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

# Not `ru_maxrss`: over fork and exec it keeps what the process of the tests had held.
_TELL = """
finally:
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
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
        timeout=60,
    )
    found = re.search(r"VmHWM:\s+(\d+) kB\s*\Z", done.stdout)
    assert found, done.stderr
    done.stdout = done.stdout[: found.start()]
    return done, int(found[1]) // 1024
