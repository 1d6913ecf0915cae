"""Compare the bytes of small runs on this processor with those on emulated ones.

Every regulariser, loss, optimiser, activation and reference model is run here and under qemu's user mode (the Debian
package qemu-user). Run the pipeline first, since its data are used. It takes some minutes a processor.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from stages.lib.core.cli import UserError, make_parser, run_main

EMULATOR = "qemu-x86_64"
PROCESSORS = ["Haswell", "Skylake-Server", "EPYC"]


def run_work(processor: str | None) -> dict[str, str]:
    """Name -> digest, on an emulated processor or, for None, on this one."""
    # The emulator takes no virtual environment's link to Python, only what it points to.
    emulated = [] if processor is None else [EMULATOR, "-cpu", processor]
    command = [*emulated, str(Path(sys.executable).resolve()), "-m", "tools.processors.work"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command)} failed, expected digests: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = make_parser("tools.processors", __doc__)
    parser.add_argument(
        "processors", nargs="*", default=PROCESSORS, help=f"of `{EMULATOR} -cpu help` (default: {PROCESSORS})"
    )
    options = parser.parse_args()
    if shutil.which(EMULATOR) is None:
        raise UserError(f"{EMULATOR} is not installed: install the package qemu-user")
    here, differs = run_work(None), False
    for processor in options.processors:
        found = run_work(processor)
        different = [name for name in here if found[name] != here[name]]
        differs = differs or bool(different)
        print(
            f"{processor}: {len(here) - len(different)} of {len(here)} results are those of this processor", flush=True
        )
        for name in different:
            print(f"  differs: {name}")
    if differs:
        sys.exit(1)


if __name__ == "__main__":
    run_main(main)
