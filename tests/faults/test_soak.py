"""The short form of the soak (see soak.py). MMQ_SOAK_SECONDS changes its length."""
import os

from soak import soak


def test_49_mixed_traffic_with_reloads_and_kills_loses_nothing(home, context):
    done = soak(home, context, float(os.environ.get("MMQ_SOAK_SECONDS", "60")))
    assert not done.failures, (done.failures[:5], done.report())
    assert not done.open, (list(done.open.values())[:5], done.report())
    assert done.counts["plain"] > 1000 and done.counts["alias"] > 5 and done.killed > 0
    # What would leak per request would be far more than this.
    assert done.slope_kb_per_s() < 50, done.report()
