"""Release the labs, and grade what students hand in: `make release`, `make grade`."""

if __name__ == "__main__":  # the workers of a batch import this file, and need nothing of it
    from labs.grading.command import main

    main()
