"""`python bench/run_platform.py`: the entry of `make bench-platform`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout, so that `bench` is a package
    from bench.platform_figures import main

    raise SystemExit(main())
