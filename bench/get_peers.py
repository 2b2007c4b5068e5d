"""`python bench/get_peers.py`: the entry of `make bench-peers`. Everything is in `bench.programs`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout, so that `bench` is a package
    from bench.programs import main

    raise SystemExit(main())
