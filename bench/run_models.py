"""`python bench/run_models.py`: the entry of `make bench-models`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout, so that `bench` is a package
    from bench.model_figures import main

    raise SystemExit(main())
