"""The command `python -m labs.grading`; what it does is in `command.py`."""

if __name__ == "__main__":  # the workers of a batch import this file, and need nothing of it
    from labs.grading.command import main

    main()
