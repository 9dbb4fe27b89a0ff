#!/usr/bin/python3
"""Includes point one way. Each folder may include itself and what its row names; anything else is an error."""
import pathlib
import re
import sys

BASE = {"util"}
MPACK = BASE | {"mpack"}
DATA = MPACK | {"data", "math"}
ALLOWED = {
    "util": BASE,
    "mpack": MPACK,
    "math": BASE | {"math"},
    "data": DATA,
    "wire": DATA | {"wire"},
    "engine": DATA | {"engine"},
    "prepare": DATA | {"engine", "prepare"},
    "model": DATA | {"engine", "prepare", "model"},
    "convert": DATA | {"engine", "prepare", "model", "convert"},
    "store": MPACK | {"store"},
    "work": MPACK | {"wire", "work"},
    "daemon": MPACK | {"math", "daemon"},
    "client": MPACK | {"wire", "client"},
}
EVERYTHING = set().union(*ALLOWED.values()) | {"work", "daemon", "client", "store", "model"}
PROGRAMS = {
    "broker": (MPACK | {"wire", "work", "daemon", "broker", "math"}),
    "trainer": EVERYTHING | {"trainer"},
    "predictor": EVERYTHING | {"predictor"},
    "cli": EVERYTHING | {"cli"},
}
DOORS = {("cli", "broker/journal_tool.h")}    # one header of a program that another one may use

def main():
    bad = []
    root = pathlib.Path(".")
    for path in sorted([*root.glob("lib/**/*.[ch]"), *(p for d in PROGRAMS for p in root.glob(f"{d}/*.[ch]"))]):
        parts = path.parts
        home = parts[1] if parts[0] == "lib" else parts[0]
        allowed = (ALLOWED if parts[0] == "lib" else PROGRAMS).get(home)
        if allowed is None:
            bad.append(f"{path}: folder '{home}' has no row in tests/lint/includes.py")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match or "/" not in match[1]:
                continue
            to = match[1].split("/")[0]
            if to not in allowed and to != home and (home, match[1]) not in DOORS:
                bad.append(f"{path}:{number}: {home} must not include {match[1]}")
    print("\n".join(bad), end="\n" if bad else "")
    return bool(bad)

sys.exit(main())
