"""What the server of forks imports, once: libraries of the long stages, 1.8 of the 2.3 seconds of a short `train`."""

import importlib
import sys
from contextlib import suppress
from pathlib import Path

from tools.repro.engine import QUICK

for name in sorted({path.stem for path in Path("stages").glob("*.py")} - set(QUICK)):
    with suppress(Exception, SystemExit):  # the command will tell what is wrong
        importlib.import_module(f"stages.{name}")
for name in [name for name in sys.modules if name.partition(".")[0] == "stages"]:
    del sys.modules[name]  # their own code is read anew by each fork
