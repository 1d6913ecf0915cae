"""DVC's site cache, its record of hashes outside of the project: done without where it cannot be used."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from dvc.repo import Repo
from dvc_data.hashfile.cache import DiskError


def open_repo(own: Path, tell: Callable[[str], None]) -> Repo:
    """The project; with a site cache of its own in the folder `own` where DVC's is damaged or cannot be opened."""
    try:
        return Repo()
    except (OSError, sqlite3.Error, DiskError) as error:
        shutil.rmtree(own, ignore_errors=True)
        os.environ["DVC_SITE_CACHE_DIR"] = str(own.absolute())
        reason = " ".join(str(error).split()) or type(error).__name__
        tell(f"DVC's site cache cannot be used ({reason}): this run has its own, {own}")
        return Repo()
