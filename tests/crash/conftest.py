"""Makes the helpers of crash tests importable by their names, as they are for the children."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
