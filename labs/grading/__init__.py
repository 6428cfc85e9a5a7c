"""Release the labs, and grade what students hand in.

A submission is graded by two processes, each in a sandbox of its own. The *student's process* runs
the cells of the notebook (`student.py`). The *judge* runs the checks (`judge.py`), and no student's
code ever does so there. Where a check calls an answer, the judge sends the arguments as plain data,
and gets plain data back (`wire.py`, `networks.py`, `peer.py`): a closed set of types, of bounded
size, rebuilt from bytes. The grader (`grade.py`) starts both, carries their messages, and stops
what takes too long.

What this promises, against students who have read all of it and can run any code in their process:

- No point without an answer that is right. The verdict is reached from data; whatever a student's
  code changes, it changes only what it answers. No method of a student's object is called.
- Texts, names and expected values of hidden checks do not come out: they are never in the student's
  process. All cells have run, and what they showed is stored, before the first question is asked;
  of an error in an answer to a hidden check, a student learns its type alone.
- Nothing else of the machine is reached: no files, no network, no other process, no environment
  (`sandbox.py`, `walls.py`). Time, memory of all processes together, output, and the size of every
  message are bounded.
- One submission never stops another, and each is a grade, or a reason why a person is needed.

What it does not promise:

- The student's code sees the arguments of the calls, in hidden checks as well, and may return them,
  so that "got ..." shows some of them. Most are drawn at random from a seed of the batch.
- What cannot be seen in data is believed: that a layer which is there by name, and on whose weights
  the output depends, is a convolution; that a network was asked in the mode that is reported.
- Nobody can tell a right answer from one that somebody else has written.
- A hole in the Linux kernel is a hole in the sandbox. With `--unsafe` there is none at all.
"""
