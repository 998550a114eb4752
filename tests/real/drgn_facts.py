#!/usr/bin/python3
"""Prints as JSON what drgn finds in a vmcore: drgn_facts.py VMCORE VMLINUX"""

import json
import sys

import drgn
from drgn.helpers.linux.mm import cmdline, environ
from drgn.helpers.linux.pid import for_each_task


def _command(task: drgn.Object) -> str:
    try:
        return b" ".join(cmdline(task)).decode(errors="replace")
    except drgn.FaultError:  # its pages are swapped out, or the process is going away
        return ""


def _environment(task: drgn.Object) -> str:
    try:
        return b"\n".join(environ(task)).decode(errors="replace")
    except drgn.FaultError:
        return ""


def _instruction(program: drgn.Program) -> int | None:
    """Where the first vCPU was. drgn 0.0.22 looks at no other's registers in a kernel's core."""
    try:
        return program.crashed_thread().stack_trace()[0].pc
    except Exception as error:  # drgn has no class of its own for it
        if "crashed thread not found" not in str(error):
            raise
        return None


def _facts(program: drgn.Program) -> dict:
    tasks = list(for_each_task(program))
    return {"banner": program["linux_banner"].string_().decode(), "tasks": len(tasks),
            "commands": [_command(task) for task in tasks if task.mm],
            "environments": [_environment(task) for task in tasks if task.mm], "instruction": _instruction(program)}


def main():
    program = drgn.Program()
    program.set_core_dump(sys.argv[1])
    program.load_debug_info([sys.argv[2]])
    json.dump(_facts(program), sys.stdout)


if __name__ == "__main__":
    main()
