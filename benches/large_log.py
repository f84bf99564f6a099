"""`python -m benches.large_log TASK FOLDER`: prints the peak resident MiB of this process, and
events a second."""

import pathlib
import sys

from benches.data import large_log
from benches.stores import resident_mib

per_s = large_log(sys.argv[1], pathlib.Path(sys.argv[2]))
print(resident_mib(), per_s)
