"""The examples that people copy run against a live service, and the demo on its two quickest models."""
import os
import subprocess
import sys

from service import BIN, ROOT


def run(*words, timeout_s=60):
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=timeout_s, cwd=ROOT, env=dict(os.environ, MMQ_BIN=str(BIN)))


def test_first_in_python(service):
    done = run(sys.executable, "examples/python/first.py", service.home)
    assert done.returncode == 0 and "predicted: ['setosa', 'virginica'] by version 1" in done.stdout, done.stdout + done.stderr


def test_first_in_c(service):
    build = BIN.parent if (BIN.parent / "examples").exists() else BIN.parent / "plain"
    done = run(build / "examples" / "c" / "first", service.home)
    assert done.returncode == 0 and "2.5 h:" in done.stdout, done.stdout + done.stderr


def test_demo_trains_streams_and_stops():
    done = run(sys.executable, "examples/demo.py", "--only", "iris-tree,xor")
    assert done.returncode == 0 and "iris-tree" in done.stdout and "xor" in done.stdout, done.stdout + done.stderr
