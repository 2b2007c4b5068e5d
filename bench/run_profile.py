"""`python bench/run_profile.py`: the entry of `make profile`. Everything is in `bench.profiler`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout, so that `bench` is a package
    from bench.profiler import main

    raise SystemExit(main())
