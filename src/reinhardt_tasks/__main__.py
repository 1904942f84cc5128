"""`python -m reinhardt_tasks` is the same as the command `reinhardt-tasks`."""

from reinhardt_tasks.cli import main

if __name__ == "__main__":
    main()
