"""The short form of the backlog (see backlog.py)."""
from backlog import Backlog


def test_a_backlog_lies_on_disk_and_memory_stays_flat(home, context):
    done = Backlog(home, context, 20000, filler=3000)
    assert done.found == 20000
    # 60 MB of bodies are on disk. SQLite's cache, the heads of the lane and the pools of what was in flight stay in memory.
    assert done.rss_kb[2] - done.rss_kb[0] < 30000 and done.rss_kb[3] - done.rss_kb[0] < 30000, done.report()
