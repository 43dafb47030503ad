"""``python -m scope_sr`` and the ``scope-sr`` script."""

import sys

try:
    from scope_sr.cli import main
except KeyboardInterrupt:  # Ctrl-C before there is anything that could handle it
    sys.exit(130)

if __name__ == "__main__":
    main()
