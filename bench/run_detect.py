"""`python bench/run_detect.py`: the entry of `make bench-detect`. Everything is in the package `bench.detect`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout, so that `bench` is a package
    from bench.detect.command import main

    raise SystemExit(main())
