"""``python -m scope_sr`` and the ``scope-sr`` script."""

from scope_sr.cli import main

if __name__ == "__main__":
    main()
