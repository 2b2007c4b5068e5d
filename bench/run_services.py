"""`python bench/run_services.py`: the entry of `make bench-services`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout, so that `bench` is a package
    from bench.service_figures import main

    raise SystemExit(main())
