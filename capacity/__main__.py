"""`python -m capacity` is the program `capacity`."""

from capacity.cli import main

if __name__ == "__main__":
    main()
