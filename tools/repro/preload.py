"""What the server of forks imports, once: the libraries of the stages, 1.8 of the 2.3 seconds of a short `train`."""

import importlib
import sys
from contextlib import suppress
from pathlib import Path

for path in sorted(Path("stages").glob("*.py")):
    with suppress(Exception, SystemExit):  # the command will tell what is wrong
        importlib.import_module(f"stages.{path.stem}")
for name in [name for name in sys.modules if name.partition(".")[0] == "stages"]:
    del sys.modules[name]  # their own code is read anew by each fork
