#!/usr/bin/python3
"""A folder explains itself: its README.md or DESIGN.md names every source file in it by its stem."""
import pathlib
import re
import sys

FOLDERS = ["broker", "trainer", "predictor", "cli", *map(str, sorted(pathlib.Path("lib").glob("*/"))),
           *map(str, sorted(pathlib.Path("lib/engine").glob("*/"))), "scripts"]


def main():
    bad = []
    for folder in map(pathlib.Path, FOLDERS):
        notes = [folder / name for name in ("README.md", "DESIGN.md") if (folder / name).exists()]
        if not folder.is_dir() or not any(folder.iterdir()):
            continue
        if not notes:
            bad.append(f"lint: {folder}/ has no README.md or DESIGN.md that lists its files")
            continue
        text = "".join(note.read_text() for note in notes)
        for path in sorted(folder.iterdir()):
            if not path.is_file() or path.suffix == ".md":
                continue
            if not re.search(rf"(?<![\w]){re.escape(path.stem)}(?![\w])", text):
                bad.append(f"lint: {path} is not named in {notes[0]}")
    print("\n".join(bad), end="\n" if bad else "")
    return bool(bad)


sys.exit(main())
