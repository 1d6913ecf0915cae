"""Every source of Thoracic Surgery gives the same bytes, and another table is refused."""

import io
import zipfile
from pathlib import Path

import pytest

from stages.lib.data.folders import from_folder
from stages.lib.data.pins import Unavailable, collect
from stages.lib.data.thoracic_source import PINS, from_tutorial, from_uci
from tests.conftest import ROOT
from tests.lib.data.server import Server, read_all

CSV = (ROOT / "data/source/thoracic_surgery.csv").read_bytes()


def make_uci_archive() -> bytes:
    """The committed table in the form UCI gives it: ARFF in a zip, rows by id but without it, codes with prefixes."""
    header, *rows = (line.split(",") for line in CSV.decode().splitlines())
    rows.sort(key=lambda row: int(row[0]))
    prefixes = {"DGN": "DGN", "PRE6": "PRZ", "PRE14": "OC", "PRE4": "", "PRE5": "", "AGE": ""}
    columns = {
        name: [prefixes[name] + value if name in prefixes else "FT"[int(value)] for value in values]
        for name, *values in list(zip(header, *rows, strict=True))[1:]
    }
    kinds = {
        name: "numeric" if prefixes.get(name) == "" else f"{{{','.join(sorted(set(values)))}}}"
        for name, values in columns.items()
    }
    lines = ["% Wrocław", "@relation 'Thoracic_Surgery_Data'"]
    lines += [f"@attribute {name} {kind}" for name, kind in kinds.items()]
    lines += ["@data", *map(",".join, zip(*columns.values(), strict=True))]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("ThoraricSurgery.arff", "\n".join(lines).encode("iso8859-2"))
    return archive.getvalue()


def test_every_source_of_thoracic_surgery_ends_in_the_same_bytes(server: Server, tmp_path: Path) -> None:
    server.serve("tutorial.csv", CSV.split(b"\n", 1)[1].replace(b"\n", b"\r\n"))
    server.serve("uci.zip", make_uci_archive())
    chain = [
        from_folder(ROOT / "data/source"),
        from_tutorial(f"{server.url}tutorial.csv"),
        from_uci(f"{server.url}uci.zip"),
    ]
    for number, source in enumerate(chain):
        collect(PINS, [source], tmp_path / str(number))
        assert read_all(tmp_path / str(number)) == {"thoracic_surgery.csv": CSV}


def test_another_table_is_refused(server: Server, target: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("other.arff", "@relation other\n@attribute PRE4 numeric\n@data\n1.5\n")
    server.serve("page.zip", b"<html>sign in</html>")
    server.serve("other.zip", archive.getvalue())
    server.serve("page.csv", b"<html>")
    server.serve("changed.csv", CSV.split(b"\n", 1)[1].replace(b"2.88", b"2.89"))
    for source, reason in [
        (from_uci(f"{server.url}page.zip"), "BadZipFile: File is not a zip file"),
        (from_uci(f"{server.url}other.zip"), "no field of name DGN"),
        (from_tutorial(f"{server.url}page.csv"), "could not convert string to float"),
        (from_tutorial(f"{server.url}changed.csv"), "SHA-256 [0-9a-f]{64}, expected fa53af63"),
    ]:
        with pytest.raises(Unavailable, match=reason):
            collect(PINS, [source], target)
    assert not target.exists()
