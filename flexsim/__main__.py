"""``python -m flexsim`` is the command ``flexsim``, where the command is not on the PATH."""

from __future__ import annotations

from flexsim.cli import main

if __name__ == "__main__":
    main()
