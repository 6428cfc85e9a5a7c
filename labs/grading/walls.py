"""What a process gives up before it runs anything of a student's: rights, memory, system calls."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from pathlib import Path
from typing import Any

# From linux/prctl.h, linux/capability.h, linux/seccomp.h, linux/audit.h and linux/sched.h.
SET_DUMPABLE, SET_SECCOMP, SET_NO_NEW_PRIVILEGES = 4, 22, 38
CAPABILITY_VERSION = 0x20080522
ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # the latter plus the number of an error
NOT_ALLOWED, NO_SUCH_CALL, NO_SUCH_FAMILY = 1, 38, 97
NEW_NAMESPACES = 0x7E020000
FAMILIES = (1, 2, 10)  # of sockets: unix, and the internet, which the sandbox has none of
# System calls that no lab needs, and that are doors: to other processes, to keys, to the kernel's
# own machinery, to memory that no limit counts. Numbers for x86-64 and for ARM.
REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
MACHINES = {"x86_64": (0, 0xC000003E, 56, 41), "aarch64": (1, 0xC00000B7, 220, 198)}
CLONE3 = 435

LIBC = ctypes.CDLL(None, use_errno=True)


def must(result: int, name: str) -> None:
    """Raise OSError if a function of the C library failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def drop(user: int) -> None:
    """Become an ordinary user that nobody else is, if root; then give up all rights."""
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    must(LIBC.capset(header, none), "capset")
    must(LIBC.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
    # A change of user hides a process's own /proc/self from it, and libraries read that.
    must(LIBC.prctl(SET_DUMPABLE, 1, 0, 0, 0), "prctl")


def limit(job: dict[str, Any]) -> None:
    """Limit what this process, and each that it starts, can take."""
    # torch alone maps gigabytes that it never touches; what counts is what comes on top.
    mapped = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    for name, most in {
        resource.RLIMIT_AS: mapped + job["memory"],
        resource.RLIMIT_NPROC: job["processes"],
        resource.RLIMIT_FSIZE: job["scratch"],
        resource.RLIMIT_NOFILE: 512,
        resource.RLIMIT_CORE: 0,
    }.items():
        resource.setrlimit(name, (most, most))


def filter_calls() -> None:
    """Refuse system calls, here and in every process that is started from here."""
    program = _program()
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    told = Program(len(program), ctypes.cast(code, ctypes.c_void_p))
    must(LIBC.prctl(SET_SECCOMP, 2, ctypes.byref(told), 0, 0), "seccomp")


def _program() -> list[tuple[int, int, int, int]]:
    """Return the filter, in the kernel's language: (instruction, if true, if false, value)."""
    if platform.machine() not in MACHINES:
        raise OSError(f"no filter of system calls is known for {platform.machine()}")
    column, machine, clone, socket = MACHINES[platform.machine()]
    load, equal, at_least, any_of, result = 0x20, 0x15, 0x35, 0x45, 0x06
    number, architecture, first = 0, 4, 16  # where the kernel has put them
    refuse = (result, 0, 0, REFUSE | NOT_ALLOWED)
    program = [
        (load, 0, 0, architecture),
        (equal, 1, 0, machine),
        refuse,
        (load, 0, 0, number),
        (at_least, 0, 1, 0x40000000),  # the same calls under other numbers
        refuse,
    ]
    for numbers in REFUSED.values():
        program += [(equal, 0, 1, numbers[column]), refuse]
    program += [
        (equal, 0, 1, CLONE3),  # its flags cannot be seen; the C library then takes clone
        (result, 0, 0, REFUSE | NO_SUCH_CALL),
        (equal, 0, 4, clone),
        (load, 0, 0, first),
        (any_of, 0, 1, NEW_NAMESPACES),
        refuse,
        (result, 0, 0, ALLOW),
        (equal, 0, 5, socket),
        (load, 0, 0, first),
        *((equal, len(FAMILIES) - n, 0, family) for n, family in enumerate(FAMILIES)),
        (result, 0, 0, REFUSE | NO_SUCH_FAMILY),
        (result, 0, 0, ALLOW),
    ]
    return program
