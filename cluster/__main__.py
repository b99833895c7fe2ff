"""``python -m cluster``: the `absa` command where no console script is installed."""

from absa_command import main

main()
