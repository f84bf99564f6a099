"""`python -m angzarr.cli`, for where the script is not on the path."""

from angzarr.cli.main import main

main()
