"""`python bench/run_callgrind.py`: the entry of `make callgrind`. Everything is in `bench.callgrind`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout, so that `bench` is a package
    from bench.callgrind import main

    raise SystemExit(main())
