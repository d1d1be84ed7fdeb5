"""System calls that a student's code has no use for, refused by the kernel (a seccomp filter) for good.

Refused are new processes and programs, so that limits on a process are limits on the exercise; all that one process
leaves for another (keyrings, System V, message queues, file locks, what is in the page cache, sockets); memory that no
limit counts (anonymous files); and what looks into or changes the system.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_JOIN_SESSION_KEYRING = 1
_LOCKS = (5, 6, 7, 36, 37, 38, 1024, 1025, 1026)
"""The commands of fcntl that lock a file or watch it."""
_FIRST_NEW = 424
_NEW = (436, 437, 439, 441, 449)
"""Allowed of those with one number everywhere: close_range, openat2, faccessat2, epoll_pwait2, futex_waitv."""

# number on x86_64, number on aarch64; -1 where there is none
_REFUSED = {
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "shmctl": (31, 195),
    "shmat": (30, 196),
    "semget": (64, 190),
    "semctl": (66, 191),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgctl": (71, 187),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "flock": (73, 32),
    "mincore": (27, 232),
    "fadvise64": (221, 223),
    "preadv2": (327, 286),
    "pwritev2": (328, 287),
    "inotify_init": (253, -1),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "memfd_create": (319, 279),
    "socket": (41, 198),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "connect": (42, 203),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "personality": (135, 92),
    "modify_ldt": (154, -1),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "uselib": (134, -1),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
_CLONE, _FCNTL, _SECCOMP = (56, 220), (72, 25), (317, 277)
_AUDIT = (0xC000003E, 0xC00000B7)

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_CLONE_THREAD = 0x00010000


def refuse() -> None:
    """Leave the caller's session keyring, and refuse these calls to this process for good.

    Raises
    ------
    OSError
        If the kernel sets no filter, or the processor is another than x86_64 and aarch64.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    machine = ("x86_64", "aarch64").index(platform.machine()) if platform.machine() in ("x86_64", "aarch64") else None
    if machine is None:
        raise OSError(errno.ENOSYS, f"no list of system calls for {platform.machine()}")
    libc.syscall(_REFUSED["keyctl"][machine], _JOIN_SESSION_KEYRING, None)
    code = b"".join(_program(machine))
    buffer = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer)))
    no_new_privileges, set_filter, every_thread = 38, 1, 1
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.syscall(
        _SECCOMP[machine], set_filter, every_thread, ctypes.byref(program)
    ):
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def _program(machine: int) -> list[bytes]:
    """Return the filter: instructions of the kernel's packet filter, each code, jump if true, jump if false, value."""
    refused, unknown = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _AUDIT[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number in _NEW:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    lines += [(_AT_LEAST, 0, 1, _FIRST_NEW), (_RETURN, 0, 0, unknown)]
    for numbers in _REFUSED.values():
        if numbers[machine] >= 0:
            lines += [(_EQUAL, 0, 1, numbers[machine]), (_RETURN, 0, 0, refused)]
    lines += [(_EQUAL, 0, 4, _CLONE[machine]), (_LOAD, 0, 0, _ARGUMENTS)]
    lines += [(_ANY_BIT, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, refused), (_RETURN, 0, 0, _ALLOW)]
    lines += [(_EQUAL, 1, 0, _FCNTL[machine]), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, _ARGUMENTS + 8)]
    for command in _LOCKS:
        lines += [(_EQUAL, 0, 1, command), (_RETURN, 0, 0, refused)]
    lines += [(_RETURN, 0, 0, _ALLOW)]
    return [struct.pack("@HBBI", *line) for line in lines]
