"""The small real data sets of examples/data as plain Python values."""
import csv
import functools
import gzip
import pathlib

DATA = pathlib.Path(__file__).resolve().parents[2] / "examples" / "data"


def cell(text):
    """A number where it is one, None for an empty field, else the text."""
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text


@functools.lru_cache(maxsize=None)
def table(name, limit=None):
    """(column names, rows) of a CSV file, target last."""
    opened = gzip.open if name.endswith(".gz") else open
    with opened(DATA / name, "rt", newline="") as file:
        reader = csv.reader(file)
        names = next(reader)
        rows = [[cell(text) for text in row] for _, row in zip(range(limit or 10**9), reader)]
    return names, rows


@functools.lru_cache(maxsize=None)
def heart():
    """(labels, sparse rows from 0) of the LIBSVM file."""
    labels, rows = [], []
    for line in (DATA / "heart_scale.libsvm").read_text().splitlines():
        words = line.split()
        labels.append(int(words[0]))
        rows.append({int(i) - 1: float(v) for i, v in (word.split(":") for word in words[1:])})
    return labels, rows


def held_out(name, limit=None):
    """(names of the features, test rows without target, truth): every fifth row, as examples/data/README.md says."""
    names, rows = table(name, limit)
    test = [row for i, row in enumerate(rows) if i % 5 == 4]
    return names[:-1], [row[:-1] for row in test], [row[-1] for row in test]


def inline(name, limit=None):
    """`data` of a train request with all rows in the message."""
    names, rows = table(name, limit)
    return {"rows": rows, "names": names}


def accuracy(truth, answers):
    assert len(truth) == len(answers)
    return sum(a == b for a, b in zip(truth, answers)) / len(truth)


def rmse(truth, answers):
    assert len(truth) == len(answers)
    return (sum((a - b) ** 2 for a, b in zip(truth, answers)) / len(truth)) ** 0.5
