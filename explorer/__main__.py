"""``python -m explorer``: the same as the command ``ppo-explorer``."""

from explorer.cli import main

main()
