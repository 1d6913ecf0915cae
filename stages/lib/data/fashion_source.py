"""Sources of Fashion-MNIST: a folder, public mirrors, the Debian package."""

from __future__ import annotations

import os
from pathlib import Path

from stages.lib.data import debian
from stages.lib.data.downloads import from_mirror
from stages.lib.data.folders import from_folder
from stages.lib.data.pins import Pin, Source

# Of the decompressed content, since distributors compress the files anew.
PINS = {
    "train-images-idx3-ubyte": Pin(47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": Pin(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": Pin(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": Pin(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
ZALANDO_URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
FOLDER_VARIABLE = "FASHION_MNIST_DIR"

HOW_TO_MEND = f"""\
To mend it, do one of these and run this again:
  - put the four files, plain or .gz, into a folder and name it: {FOLDER_VARIABLE}=DIR, or --folder DIR
    (a named folder is the only source that is asked; without one the public sources are tried);
  - make one of the web addresses above reachable; a proxy is taken from HTTPS_PROXY;
  - on Debian or Ubuntu, install the package: apt-get install {debian.PACKAGE}"""


def make_chain(folder: str | None, scratch: Path) -> list[Source]:
    """The sources to ask, in order; a folder that the user names, here or in the environment, is the only one."""
    if named := folder or os.environ.get(FOLDER_VARIABLE):
        return [from_folder(Path(named).expanduser())]
    return [
        from_folder(debian.SYSTEM_FOLDER),
        from_mirror(ZALANDO_URL),
        from_mirror(KERAS_URL),
        debian.from_debian_package(scratch),
    ]
