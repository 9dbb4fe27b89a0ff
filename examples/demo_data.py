"""Reads the demo's data sets in plain Python, to have held-out rows to stream and truths to compare with."""
import csv
import gzip
import pathlib
import struct

DATA = pathlib.Path(__file__).resolve().parent / "data"


def read_csv(name, target):
    """Rows as lists in file order without the target column, and the target's values; numbers as floats, missing as None."""
    opened = gzip.open(DATA / name, "rt", newline="") if name.endswith(".gz") else open(DATA / name, newline="")
    with opened as file:
        rows = list(csv.reader(file))
    header, rows = rows[0], rows[1:]
    place = header.index(target)
    numeric = [all(not row[c] or is_number(row[c]) for row in rows) for c in range(len(header))]
    values = [[None if not cell else float(cell) if numeric[c] else cell for c, cell in enumerate(row)] for row in rows]
    return [row[:place] + row[place + 1:] for row in values], [row[place] for row in values]


def is_number(text):
    try:
        float(text)
        return True
    except ValueError:
        return False


def read_idx(name):
    """The images or labels of an IDX file: a list of flat byte strings, or a list of integers."""
    raw = gzip.decompress((DATA / name).read_bytes())
    rank = raw[3]
    shape = struct.unpack(f">{rank}I", raw[4:4 + 4 * rank])
    body = raw[4 + 4 * rank:]
    if rank == 1:
        return list(body)
    size = len(body) // shape[0]
    return [body[i * size:(i + 1) * size] for i in range(shape[0])]


def held_out(items):
    """The rows that `split: {kind: modulo}` keeps for the test: every fifth, from the fifth on."""
    return items[4::5]


def accuracy(truth, answers):
    return sum(a == b for a, b in zip(truth, answers)) / len(truth)


def rmse(truth, answers):
    return (sum((a - b) ** 2 for a, b in zip(truth, answers)) / len(truth)) ** 0.5
