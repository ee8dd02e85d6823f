"""`python main.py [PATH...]` opens the window; `python main.py COMMAND ...` does the rest without one."""

import sys

from fgsn_viewer.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
