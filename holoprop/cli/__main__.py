"""`python -m holoprop.cli`."""

from holoprop.cli import main

main()
