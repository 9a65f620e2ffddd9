"""`python -m reuseprior` is the command `reuseprior`."""

from reuseprior.cli import main

main()
