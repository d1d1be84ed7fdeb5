"""Submissions that try to earn what they do not deserve, or to do harm. Each is one notebook's code."""

from __future__ import annotations

LYING_OBJECTS = {
    "equal to everything": """
class Liar:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __getattr__(self, name): return self
    def __call__(self, *args, **kwargs): return self
    def __iter__(self): return iter([self])
    def __len__(self): return 1
    def __sub__(self, other): return 0
    def __abs__(self): return 0
    def __lt__(self, other): return True
    def __le__(self, other): return True
def double(x): return Liar()
""",
    "a tensor subclass": """
import torch
class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None): return True
    def __eq__(self, other): return True
    def __reduce_ex__(self, protocol): return (exec, ("import os; os._exit(0)",))
def double(x): return torch.zeros_like(x).as_subclass(Liar)
""",
    "a float subclass": """
class Liar(float):
    def __eq__(self, other): return True
    def __sub__(self, other): return Liar(0)
def double(x): return Liar(1)
""",
    "a list subclass": """
class Liar(list):
    def __eq__(self, other): return True
def double(x): return Liar([1])
""",
    "NaN": """
import torch
def double(x): return torch.full_like(x, float("nan"))
""",
    "infinity": """
import torch
def double(x): return torch.full_like(x, float("inf"))
""",
    "an empty tensor": """
import torch
def double(x): return torch.empty(0)
""",
    "broadcasts": """
import torch
def double(x): return torch.zeros(())
""",
    "a meta tensor": """
import torch
def double(x): return torch.empty_like(x, device="meta")
""",
    "a sparse tensor": """
import torch
def double(x): return x.to_sparse()
""",
    "a quantized tensor": """
import torch
def double(x): return torch.quantize_per_tensor(x.float(), 0.1, 0, torch.quint8)
""",
    "a coroutine": """
def double(x):
    async def later(): return 2 * x
    return later()
""",
    "a generator": """
def double(x): yield 2 * x
""",
    "a model recipe": """
from llmsafety_lab.checking.handles import SmallModel
def double(x): return SmallModel(seed=0, layers=4000, width=4096)
""",
    "echo": """
def double(x): return x
""",
}

# each of these does its harm in the function itself, so that an attack which fails to start is an error that is seen
PATCHES = {
    "torch.allclose": """
import torch
def double(x):
    torch.allclose = lambda *a, **k: True
    torch.Tensor.__eq__ = lambda *a: True
    torch.Tensor.abs = lambda self: torch.zeros(())
    return x
""",
    "builtins": """
import builtins
def double(x):
    builtins.abs = builtins.max = lambda *a: 0
    builtins.all = builtins.any = lambda *a: True
    builtins.isinstance = lambda *a: True
    return x
""",
    "json and the wire": """
import json
import llmsafety_lab.checking.wire as wire
import llmsafety_lab.checking.session as student
def double(x):
    wire.dumps, student.dumps
    wire.dumps = student.dumps = lambda value: json.dumps({"dict": [["ok", True], ["points", 99]]}).encode()
    return x
""",
    "the session": """
import gc
from llmsafety_lab.checking.session import Session
def double(x):
    Session.handle
    sessions = [thing for thing in gc.get_objects() if isinstance(thing, Session)]
    sessions[0].handle = Session.handle = lambda *a: b'{"dict": [["ok", {"dict": [["ok", true], ["earned", 5]]}]]}'
    return x
""",
    "the check": """
import llmsafety_lab.checking.result as result, llmsafety_lab.checking.expect as expect
def double(x):
    result.assess, expect.expect_close
    result.assess = lambda *a: result.Result("attention.double", "Double", 5, 5)
    expect.expect = expect.expect_close = lambda *a, **k: None
    return x
""",
    "numpy": """
import numpy
def double(x):
    numpy.allclose = numpy.array_equal = lambda *a, **k: True
    return x
""",
    "the import system": """
import sys
import llmsafety_lab.checking.exercise
class Finder:
    def find_spec(self, name, path=None, target=None): return None
def double(x):
    sys.meta_path.insert(0, Finder())
    sys.modules["llmsafety_lab.checking.exercise"] = type(sys)("fake")
    return x
""",
}

FORGERIES = {
    "writes to every descriptor": """
import os, struct
def double(x):
    message = b'{"dict": [["ok", {"tuple": []}], ["earned", 5], ["passed", true]]}'
    for descriptor in range(64):
        try: os.write(descriptor, struct.pack(">I", len(message)) + message)
        except OSError: pass
    return x
""",
    "answers in advance": """
import os, struct
def flood():
    message = b'{"dict": [["ok", true]]}'
    for descriptor in range(64):
        try: os.write(descriptor, (struct.pack(">I", len(message)) + message) * 50)
        except OSError: pass
class Double:
    def __set_name__(self, owner, name): flood()
def double(x):
    type("Holder", (), {"field": Double()})
    return x
""",
    "a garbage message": """
import os
def double(x):
    for descriptor in range(3, 64):
        try: os.write(descriptor, b"\\xff" * 4096)
        except OSError: pass
    return x
""",
    "a bad tensor message": """
import os, struct
def double(x):
    message = b'{"dict": [["ok", {"tensor": ["float64", [1000000, 1000000], ""]}]]}'
    for descriptor in range(3, 64):
        try: os.write(descriptor, struct.pack(">I", len(message)) + message)
        except OSError: pass
    return x
""",
    "deep nesting": """
import os, struct
def double(x):
    message = b"[" * 200000
    for descriptor in range(3, 64):
        try: os.write(descriptor, struct.pack(">I", len(message)) + message)
        except OSError: pass
    return x
""",
    "writes results files": """
import glob, os
class Now:
    for folder in ["/tmp", "/student", "/autograder/results", "/work", "/root", "/home", "."]:
        try:
            os.makedirs(folder, exist_ok=True)
            for name in ["results.json", "grades.csv", "state.json"]:
                open(os.path.join(folder, name), "w").write('{"score": 100}')
        except OSError: pass
def double(x): return x
double.now = Now
""",
}

ENDINGS = {
    "os._exit": """
import os
def double(x): os._exit(0)
""",
    "sys.exit": """
import sys
def double(x): sys.exit(0)
""",
    "a signal": """
import os, signal
def double(x): os.kill(os.getpid(), signal.SIGKILL)
""",
    "kills everything": """
import os, signal
def double(x):
    for pid in [-1, os.getppid(), *range(1, 3000)]:
        try: os.kill(pid, signal.SIGKILL)
        except OSError: pass
    return x
""",
    "atexit": """
import atexit, os
class Now:
    atexit.register(lambda: os.write(1, b"passed"))
def double(x): return x
double.now = Now
""",
    "a segmentation fault": """
import ctypes
def double(x): ctypes.string_at(0)
""",
    "an endless recursion": """
def double(x): return double(x)
""",
    "an exception with a lying text": """
class Error(BaseException):
    def __str__(self): raise SystemExit("5 of 5")
def double(x): raise Error()
""",
    "an interrupt": """
def double(x): raise KeyboardInterrupt
""",
    "an endless loop": """
def double(x):
    while True: pass
""",
    "an endless loop at the top": """
class Loop:
    while True: pass
def double(x): return x
double.now = Loop
""",
    "a loop that catches everything": """
import signal
def double(x):
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
    "sleep": """
import time
def double(x): time.sleep(1000)
""",
    "threads left behind": """
import threading, time
def forever():
    while True: time.sleep(0.01)
def double(x):
    for _ in range(100): threading.Thread(target=forever).start()
    return x
""",
}

FLOODS = {
    "fork bomb": """
import os
def double(x):
    while True:
        try: os.fork()
        except OSError: pass
""",
    "processes that outlive": """
import os, subprocess, sys, time
def double(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True: time.sleep(1)
        os._exit(0)
    return x
""",
    "memory": """
def double(x):
    held = []
    while True: held.append(bytearray(100 << 20))
""",
    "tensors": """
import torch
def double(x): return torch.ones(1 << 33)
""",
    "anonymous files": """
import os
def double(x):
    files = [os.memfd_create(str(n)) for n in range(1000)]
    for file in files:
        while True: os.write(file, b"0" * (1 << 20))
""",
    "disk": """
def double(x):
    number = 0
    while True:
        with open(f"/student/{number}", "wb") as file: file.write(b"0" * (8 << 20))
        number += 1
""",
    "shared memory": """
def double(x):
    number = 0
    while True:
        with open(f"/dev/shm/{number}", "wb") as file: file.write(b"0" * (1 << 20))
        number += 1
""",
    "output": """
import sys
def double(x):
    while True:
        sys.stdout.write("passed " * 100000); sys.stderr.write("5 of 5 " * 100000)
""",
    "a large answer": """
import torch
def double(x): return torch.zeros(10 << 20)
""",
    "a large exception": """
def double(x): raise ValueError("x" * (100 << 20))
""",
    "keys that collide": """
def double(x): return {n * (2 ** 61 - 1): 0 for n in range(300000)}
""",
    "a text that cannot be written": """
def double(x): raise ValueError("\\ud800 \\x1b]0;owned\\x07")
""",
    "a long integer": """
def double(x): return 10 ** 100000
""",
    "a nested answer": """
def double(x):
    inner = []
    for _ in range(100000): inner = [inner]
    return inner
""",
    "a self-referring answer": """
def double(x):
    answer = []
    answer.append(answer)
    return answer
""",
}

PARSER = {
    "deep parentheses": "def double(x): return x\ny = " + "(" * 50000 + ")" * 50000,
    "deep unary operators": "def double(x): return x\ny = " + "-" * 200000 + "1",
    "null bytes": "def double(x): return x\n\0",
    "a huge constant": "def double(x): return x\ny = " + "9" * 1000000,
    "surrogates": "def double(x): return x\ny = '\ud800'",
}

SPIES = {
    "reads the disk": """
import os
def double(x):
    seen = []
    for base in {places!r}:
        try: seen.append((base, open(base).read()))
        except OSError: pass
    raise ValueError("SEEN " + repr(seen))
""",
    "walks the disk": """
import os
def double(x):
    names = []
    for base in ("/root", "/home", "/work", "/etc", "/var", "/srv", "/mnt", "/tmp", "/proc/1/cwd"):
        for folder, below, files in os.walk(base):
            below[:] = [name for name in below if name not in ("lib", "share", "include", "node_modules")]
            names += [name for name in files if name.endswith((".key", ".csv", ".ipynb"))]
    raise ValueError("SEEN " + repr(names))
""",
    "reads other processes": """
import os
def double(x):
    seen = [pid for pid in os.listdir("/proc") if pid.isdigit() and pid != str(os.getpid())]
    raise ValueError("SEEN " + repr(seen))
""",
    "reads the environment": """
import os
def double(x):
    text = repr(dict(os.environ))
    for place in ("/proc/self/environ", "/proc/1/environ"):
        try: text += open(place).read()
        except OSError: pass
    raise ValueError("SEEN " + repr([word for word in ("CANARY",) if word in text]))
""",
    "uses the network": """
import socket, encodings.idna
def double(x):
    seen = []
    for host, port in (("127.0.0.1", {port}), ("::1", {port}), ("192.0.2.1", 80)):
        try: socket.create_connection((host, port), timeout=1); seen.append(host)
        except OSError: pass
    raise ValueError("SEEN " + repr(seen))
""",
    "gains privileges": """
import ctypes, os
def double(x):
    seen, libc = [], ctypes.CDLL(None)
    try: os.setuid(0); seen.append("root")
    except OSError: pass
    if libc.mount(b"tmpfs", b"/usr", b"tmpfs", 0, None) == 0: seen.append("mount")
    if libc.umount2(b"/student", 2) == 0: seen.append("umount")
    if libc.ptrace(16, 1, 0, 0) == 0 and os.getpid() != 1: seen.append("ptrace")
    try: os.chroot("/student"); seen.append("chroot")
    except OSError: pass
    try: open("/usr/planted", "w"); seen.append("write")
    except OSError: pass
    raise ValueError("SEEN " + repr(seen))
""",
    "leaves something for the next": """
import os
def double(x):
    seen = []
    for base, below, _ in os.walk("/"):
        own = ("/proc", "/student", "/dev/shm", "/usr", "/sys")
        below[:] = [name for name in below if os.path.join(base, name) not in own]
        try:
            open(os.path.join(base, "planted"), "w").close()
            seen.append(base)
        except OSError: pass
        if base.count("/") > 6: below.clear()
    raise ValueError("SEEN " + repr(seen))
""",
    "the checks": """
import os, llmsafety_lab
def double(x):
    base = os.path.dirname(llmsafety_lab.__file__)
    raise ValueError("SEEN " + repr([name for name in os.listdir(base) if name.startswith(("checks", "attention"))]))
""",
}
