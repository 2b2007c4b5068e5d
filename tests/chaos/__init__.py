"""Faults by a plan, under calls that never end, with a judge. `walk` is the place to begin reading."""

import sys
from pathlib import Path

# The components of a host under chaos are a package of its own: a host gets a copy, and the clients use parts of it.
sys.path.append(str(Path(__file__).parent.parent / "hosts" / "chaos_package"))
