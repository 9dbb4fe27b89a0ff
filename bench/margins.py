"""margins.py: when a mean over seeds or folds is as good as another library's.

A score (more is better) is within when ours >= theirs - max(0.002, one standard error of the paired differences); an RMSE when it is at
most 0.5 % larger, or larger by no more than that error. Plain Python, since quality.py runs where nothing is installed.
"""
import collections
import math

SCORE, RMSE_SHARE = 0.002, 0.005
Result = collections.namedtuple("Result", "ours theirs margin within")


def error_of(values):
    """One standard error of the mean."""
    n, mean = len(values), sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n) if n > 1 else 0.0


def paired(metric, ours, theirs):
    """ours[k] and theirs[k] are of the same rows and the same seed or fold."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    return judged(metric, sum(ours) / len(ours), sum(theirs) / len(theirs), error_of(differences))


def judged(metric, ours, theirs, error):
    if metric == "rmse":
        margin = max(RMSE_SHARE * theirs, error)
        return Result(ours, theirs, margin, ours <= theirs + margin)
    margin = max(SCORE, error)
    return Result(ours, theirs, margin, ours >= theirs - margin)
