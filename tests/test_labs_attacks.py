"""Points for nothing: what somebody tries who has read the grader, and gets no point for.

Every attempt stands in a notebook whose first question is answered wrongly. None may earn a point
for it, or cost one of the second question, or make a hidden check's words known.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from labs.grading.grade import Result, grade
from labs.grading.lab import Lab, read_lab
from labs.grading.sandbox import Limits
from tests.labs.small import plain, submission, write_lab

pytestmark = pytest.mark.sandbox
SOURCE = Path(__file__).parents[1] / "labs" / "source"
LIMITS = Limits(cell=2, total=60, memory=2**30, output=10**6)
# What only the judge knows. (What an assert says when it fails is shown to students.)
SECRETS = ("142.5", "-17.0", "71.25", "allclose(twice(secret", "sum([largest")
WRONG = "def twice(X):\n    return X + 3\n"

# In a cell of its own, above all checks.
CELLS = {
    "checks are emptied": "get_ipython().input_transformers_cleanup.append(lambda _: [])",
    "the same, later": "get_ipython().input_transformers_post.append(lambda l: [])",
    "asserts are taken out": (
        "get_ipython().input_transformers_post.append(\n"
        "    lambda lines: [l for l in lines if 'assert' not in l])"
    ),
    "asserts are taken out of the tree": """
        import ast
        class Out(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.Pass()
        get_ipython().ast_transformers.append(Out())
        """,
    "cells are never run": "get_ipython().run_cell = lambda *a, **k: None",
    "cells are transformed into nothing": "get_ipython().transform_cell = lambda text: ''",
    "a global import": "__import__ = lambda *a, **k: None",
    "a formatter of strings": (
        "get_ipython().display_formatter.formatters['text/plain'].for_type(\n"
        "    str, lambda s, p, c: p.text('{}'))"
    ),
    "a formatter of everything": (
        "get_ipython().display_formatter.format = lambda *a, **k: ({'text/plain': '{}'}, {})"
    ),
    "an event before": (
        "get_ipython().events.register('pre_execute', lambda *a: globals().update(twice=max))"
    ),
    "JSON of its own": 'import json; json.JSONEncoder.encode = lambda s, o: \'{"error": ""}\'',
    "JSON that reads anything": "import json; json.loads = lambda *a, **k: {'error': ''}",
    "JSON that writes one thing": 'import json; json.dumps = lambda *a, **k: \'["done", "ok"]\'',
    "forks": "import os; os.register_at_fork(after_in_child=lambda: os._exit(0))",
    "builtins without asserts": "import builtins; builtins.AssertionError = ZeroDivisionError",
    "builtins that agree": "import builtins; builtins.all = builtins.any = lambda *a: True",
    "isinstance agrees": "import builtins; builtins.isinstance = lambda *a: True",
    "exec does nothing": "import builtins; builtins.exec = lambda *a, **k: None",
    "compile makes nothing": (
        "import builtins\nold = compile\n"
        "builtins.compile = lambda s, *a, **k: old('pass' if 'assert' in str(s) else s, *a, **k)"
    ),
    "torch compares well": "torch.allclose = torch.equal = torch.isclose = lambda *a, **k: True",
    "numpy compares well": "np.allclose = np.array_equal = lambda *a, **k: True",
    "the code of a comparison": "torch.equal = (lambda *a, **k: True)",
    "tensors are equal": "torch.Tensor.__eq__ = lambda a, b: True",
    "gradients are patched": "torch.autograd.grad = lambda *a, **k: ()",
    "copies are patched": "import copy; copy.deepcopy = lambda x, *a: x",
    "optimisers are patched": "torch.optim.SGD.step = lambda *a, **k: None",
    "the judge's module is patched": """
        import sys
        judge = sys.modules["labs.grading.judge"]
        judge.Judge.check = lambda self, id: {"error": ""}
        judge._words = lambda *a: ""
        """,
    "the other side's class is patched": """
        import sys
        peer = sys.modules["labs.grading.peer"]
        peer.Peer.failed = lambda self, error: [["ValueError"], ""]
        """,
    "answers never say no": """
        import gc, sys
        Student = sys.modules["labs.grading.student"].Student
        Student.perform = lambda self, *a: True
        """,
    "answers are empty": """
        import sys
        Student = sys.modules["labs.grading.student"].Student
        Student.serve = lambda self, told: self.send(b"")
        """,
    "answers are broken": """
        import sys
        Student = sys.modules["labs.grading.student"].Student
        Student.serve = lambda self, told: self.send(bytes(range(256)) * 10)
        """,
    "answers come twice": """
        import sys
        Student = sys.modules["labs.grading.student"].Student
        old = Student.send
        Student.send = lambda self, m: (old(self, m), old(self, m))
        """,
    "questions instead of answers": """
        import sys
        Student = sys.modules["labs.grading.student"].Student
        Student.serve = lambda self, told: self.ask(["function", 0], ("x",))
        """,
    "questions for the judge's names": """
        import sys
        Student = sys.modules["labs.grading.student"].Student
        Student.serve = lambda self, told: self.ask(["name", "names"], ())
        """,
    "questions for methods of the judge's": """
        import sys
        Student = sys.modules["labs.grading.student"].Student
        Student.serve = lambda self, told: self.ask(["method", "check"], ("q1-example",))
        """,
    "questions without an end": """
        import sys
        Student = sys.modules["labs.grading.student"].Student
        def serve(self, told):
            while True:
                self.ask(["function", 0], ())
        Student.serve = serve
        """,
    "a verdict among the outputs": """
        import sys
        Student = sys.modules["labs.grading.student"].Student
        Student.serve = lambda self, told: self.pipe.send(b'V', b'{"error": ""}')
        """,
    "a control message": """
        import sys
        Student = sys.modules["labs.grading.student"].Student
        Student.serve = lambda self, told: self.pipe.send(b'H', b'{"check": "q2-more"}')
        """,
    "the connection is shut": "import os; os.close(3)",
    "the connection is read": """
        import os
        os.set_blocking(3, False)
        print(os.read(3, 99999))
        """,
    "signals are caught": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "the recursion limit": "import sys; sys.setrecursionlimit(50)",
    "tracing": "import sys; sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)",
    "the names refuse to go": """
        class Names(dict):
            def clear(self): pass
        get_ipython().user_ns = Names(get_ipython().user_ns)
        """,
    "floods the pipe": "import os\nfor n in range(9): os.write(3, b'O' * 10000)",
    "a frame that is no answer": "import os; os.write(3, b'\\x01\\x00\\x00\\x00S')",
    "many frames in advance": """
        import os, struct
        text = b'{"dict": [["number", 2], ["error", null], ["of", {"bytes": [0, 0]}]]}'
        frame = b"S" + struct.pack("<I", len(text)) + text
        for n in range(20):
            os.write(3, struct.pack("<I", len(frame)) + frame)
        """,
}

# In place of the body of an answer: what it returns, or does while it is asked.
BODIES = {
    "looks at the caller's names": "import sys; return sys._getframe(1).f_locals.get('want')",
    "looks at every caller": """
        import sys
        frame, found = sys._getframe(), []
        while frame:
            found += [v for k, v in frame.f_locals.items() if k in ("want", "expected", "secret")]
            frame = frame.f_back
        return found[0] if found else X
        """,
    "looks for words in memory": """
        import gc
        found = [o for o in gc.get_objects() if isinstance(o, dict) and "secret" in o]
        return found[0]["secret"] * 2 if found else str(found)
        """,
    "looks for checks in memory": """
        import gc
        words = [o for o in gc.get_objects() if isinstance(o, (list, tuple))]
        text = [w for each in words for w in each if isinstance(w, str) and "assert " in w
                and "twice" in w]
        return "".join(text)[:900] or None
        """,
    "looks for checks in the raw memory": """
        import re
        found = []
        for line in open("/proc/self/maps"):
            span, rights = line.split()[:2]
            start, end = (int(n, 16) for n in span.split("-"))
            if "r" in rights and "[heap]" in line and end - start < 2**28:
                with open("/proc/self/mem", "rb") as memory:
                    memory.seek(start)
                    found += re.findall(rb"assert torch.allclose.twice.secret[^\\n]*",
                                        memory.read(end - start))
        return str(found)
        """,
    "looks for files": """
        import os
        return str([f for d, _, fs in os.walk("/work") for f in fs if f.endswith(".ipynb")])
        """,
    "reads the first process": "return open('/proc/1/environ').read()",
    "an int that equals everything": """
        class T(int):
            __eq__ = lambda s, o: True
            __sub__ = __rsub__ = lambda s, o: 0
        return T(3)
        """,
    "a list that equals everything": """
        class T(list):
            __eq__ = lambda s, o: True
        return T([3])
        """,
    "a tuple that equals everything": """
        class T(tuple):
            __eq__ = lambda s, o: True
        return T((3,))
        """,
    "a float that equals everything": """
        class T(float):
            __eq__ = lambda s, o: True
            __abs__ = lambda s: 0
        return T(3)
        """,
    "a tensor that equals everything": """
        class T(torch.Tensor):
            @classmethod
            def __torch_function__(cls, f, types, args=(), kwargs=None):
                return True
        return torch.zeros(2).as_subclass(T)
        """,
    "an array that agrees": """
        class T:
            def __array_function__(self, *a): return True
            __eq__ = lambda s, o: True
            __array__ = lambda s, *a, **k: np.array([2.0, 4.0])
        return T()
        """,
    "an object with any attribute": """
        class T:
            __getattr__ = lambda s, n: T()
            __call__ = lambda s, *a, **k: T()
            __bool__ = lambda s: True
            __eq__ = lambda s, o: True
        return T()
        """,
    "a function": "return lambda *a: True",
    "a class": "return type('T', (), {})",
    "a module": "return torch",
    "a network": "return torch.nn.Linear(2, 2)",
    "a network that was never given": """
        net = torch.nn.Linear(2, 2)
        student = _student()
        student.know(0, net)
        return net
        """,
    "an optimiser": "return torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=1)",
    "a generator": "return (n for n in range(3))",
    "NaN": "return torch.full_like(X, float('nan'))",
    "infinity": "return torch.full_like(X, float('inf'))",
    "nothing": "return None",
    "everything that there is": "return torch.zeros(10**6).expand(1000, 10**6)",
    "an empty tensor": "return torch.zeros(0)",
    "a tensor of no numbers": "return torch.zeros(2, dtype=torch.bool)",
    "a sparse tensor": "return X.to_sparse()",
    "a tensor without data": "return torch.zeros(2, device='meta')",
    "a very large number": "return 10 ** 100_000",
    "a long text": "return 'x' * 10_000_000",
    "many lists": "return [[] for _ in range(3_000_000)]",
    "a keyboard interrupt": "raise KeyboardInterrupt",
    "the end of an iteration": "raise StopIteration",
    "a verdict as an error": "raise AssertionError('')",
    "the judge's own error": """
        import sys
        raise sys.modules["labs.grading.judge"].Stopped("")
        """,
    "an error with a name of its own": "raise type('AssertionError', (Exception,), {})('ok')",
    "an error that is a formatter": "raise ValueError('{0.__class__.__mro__}' + str(X))",
    "an argument that was never given": "_raw('{\"token\": 99}')",
    "a view of more than there is": "_raw('{\"view\": [0, [9999], [1], 0]}')",
    "a negative view": "_raw('{\"view\": [0, [2], [1], -2]}')",
    "the judge's function 0": "_raw('{\"function\": 0}')",
    "the judge's network 0": '_raw(\'{"module": [0, {"dict": []}]}\')',
    "an attribute of the reader": "_raw('{\"_init__\": []}')",
    "wire: a method": "_raw('{\"read\": [1]}')",
    "wire: an optimiser of any class": '_raw(\'{"optimizer": [1, "lr_scheduler", []]}\')',
    "wire: a large array": '_raw(\'{"array": ["float64", [99999999999], 0]}\')',
    "wire: shapes that overflow": (
        '_raw(\'{"tensor": ["float32", [4294967296, 4294967296], [0, 0], 0, false]}\')'
    ),
    "wire: objects as numbers": '_raw(\'{"array": ["object", [1], 0]}\')',
    "wire: deep": "_raw('{\"list\": [' * 3000 + ']}' * 3000)",
    "wire: keys that cannot be": '_raw(\'{"dict": [[{"list": []}, 1]]}\')',
}
HELPERS = '''
import gc
import json as _json
def _student():
    return next(o for o in gc.get_objects() if type(o).__name__ == "Student")
def _raw(text):
    """Answer with a value that is written by hand."""
    import struct
    student = _student()
    old = student.dump
    def dump(value, **k):
        raw = text.encode()
        if isinstance(value, dict) and "number" in value:
            value = value | {"result": struct.pack("<I", len(raw)) + raw, "error": None}
            del student.dump
        return old(value, **k)
    student.dump = dump
'''


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return read_lab(write_lab(tmp_path_factory.mktemp("source")), "small")


def handed_in(lab: Lab, folder: Path, answer: str, first: str) -> Result:
    notebook = submission(q1=answer)
    notebook["cells"].insert(1, plain(first))
    notebook["cells"].append(plain("print(globals())"))
    path = folder / "small.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    result = grade(path, "eve", lab, limits=LIMITS)
    assert (result.points["q1-example"] or 0) == (result.points["q1-more"] or 0) == 0
    shown = "".join(json.dumps(c.get("outputs")) for c in json.loads(result.notebook)["cells"])
    assert not [words for words in SECRETS if words in shown]
    return result


@pytest.mark.parametrize("name", CELLS)
def test_nothing_that_a_cell_does_earns_points(name: str, lab: Lab, tmp_path: Path) -> None:
    handed_in(lab, tmp_path, WRONG, textwrap.dedent(CELLS[name]).strip())


@pytest.mark.parametrize("name", BODIES)
def test_nothing_that_an_answer_does_earns_points(name: str, lab: Lab, tmp_path: Path) -> None:
    body = textwrap.indent(textwrap.dedent(BODIES[name]).strip(), "    ")
    result = handed_in(lab, tmp_path, f"def twice(X):\n{body}\n", HELPERS)
    assert result.status == "graded", result.reason
    assert (result.points["q2-example"], result.points["q2-more"]) == (1, 2)


# What all answers of a real lab return alike, in the hope that some check lets it pass.
VALUES = {
    "nothing": "None",
    "zero": "0",
    "NaN": "float('nan')",
    "an empty list": "[]",
    "an empty tensor": "torch.zeros(0)",
    "a tensor of NaN": "torch.tensor(float('nan'))",
    "a tensor of one number": "torch.zeros(1, 1, 1, 1)",
    "a dictionary": "{}",
    "a network": "torch.nn.Identity()",
    "its argument": "next((a for a in args if isinstance(a, torch.Tensor)), args)",
    "its argument, emptied": """_emptied(args)""",
    "another type of NaN": "torch.full_like(_first(args), float('nan'), dtype=torch.float64)",
}
EMPTIES = """
import torch
def _first(args):
    return next((a for a in args if isinstance(a, torch.Tensor)), torch.zeros(()))
def _emptied(args):
    for arg in args:
        if isinstance(arg, torch.nn.Module):
            arg.eval()
            with torch.no_grad():
                for values in arg.parameters():
                    values.zero_()
        elif isinstance(arg, torch.Tensor):
            arg.detach().zero_()
        elif isinstance(arg, (list, dict)):
            arg.clear()
    return torch.zeros_like(_first(args))
"""


@pytest.mark.parametrize("name", ["lab1", "lab2", "lab3", "lab4"])
@pytest.mark.parametrize("value", VALUES)
def test_no_value_earns_points_for_all_answers(name: str, value: str, tmp_path: Path) -> None:
    lab = read_lab(SOURCE, name)
    notebook = json.loads(lab.notebook(solved=False))
    notebook["cells"].insert(0, plain(EMPTIES))
    for cell in notebook["cells"]:
        for answer in lab.names.get(cell["metadata"].get("nbgrader", {}).get("grade_id"), ()):
            cell["source"] = f"def {answer}(*args, **kwargs):\n    return {VALUES[value]}"
    path = tmp_path / "lab.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    result = grade(path, "eve", lab)
    assert result.status == "graded", result.reason
    assert not sum(points for points in result.points.values() if points), result.points


def test_there_are_about_a_hundred() -> None:
    assert len(CELLS) + len(BODIES) >= 95
