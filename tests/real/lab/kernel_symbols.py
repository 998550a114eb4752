#!/usr/bin/python3
"""Writes Volatility 3's symbol file (ISF, schema 6.2.0) of a debug vmlinux to stdout.

    kernel_symbols.py VMLINUX > NAME.json

Volatility's own generator, dwarf2json, is distributed as Go source only; drgn is a Debian
package and reads the same debug information, so the lab needs no compiler and no Go modules.
Types are those reachable from what Volatility's Linux plugins name; symbols are all of them.
Run with /usr/bin/python3, to which Debian's drgn belongs.
"""

import base64
import hashlib
import json
import subprocess
import sys

import drgn
from drgn import TypeKind

# Volatility binds classes to the first group when it loads any symbol file; the rest serves plugins.
_TYPE_ROOTS = """
task_struct list_head hlist_head mm_struct super_block vm_area_struct qstr dentry fs_struct files_struct file
kobject cred inode idr address_space page vfsmount net socket sock inet_sock unix_sock
module mount mnt_namespace netlink_sock packet_sock pid upid pid_namespace nsproxy elf64_hdr
timespec64 tcp_sock udp_sock
""".split()
_TYPED_SYMBOLS = """
init_task init_mm init_files init_pid_ns init_nsproxy modules mod_tree module_kset tk_core cap_last_cap prb
iomem_resource net_namespace_list tty_drivers idt_table keyboard_notifier_list prog_idr socket_file_ops
sockfs_dentry_operations vmemmap_base
""".split()

# drgn's spelling of C types -> the one of DWARF, which Volatility asks for.
_DWARF_NAMES = {
    "short": "short int", "unsigned short": "short unsigned int",
    "long": "long int", "unsigned long": "long unsigned int",
    "long long": "long long int", "unsigned long long": "long long unsigned int",
}
_COMPOUNDS = {TypeKind.STRUCT: "struct", TypeKind.UNION: "union", TypeKind.CLASS: "class"}
_BASES = {TypeKind.INT: "int", TypeKind.BOOL: "bool", TypeKind.FLOAT: "float"}


class Isf:
    """Collects types, and every type they refer to."""

    def __init__(self, program: drgn.Program):
        self._program = program
        self._pending: list[tuple[str, drgn.Type]] = []
        self.user_types: dict[str, dict] = {}
        self.enums: dict[str, dict] = {}
        self.base_types = {
            "void": {"size": 0, "signed": False, "kind": "void", "endian": "little"},
            "pointer": {"size": 8, "signed": False, "kind": "int", "endian": "little"},
        }

    def add(self, ctype: drgn.Type) -> dict:
        """Reference to a type, after collecting its definition and all it needs."""
        reference = self._reference(ctype)
        while self._pending:  # a list instead of recursion: the kernel's types nest deeper than Python's stack
            name, compound = self._pending.pop()
            self.user_types[name]["fields"] = self._fields(compound)
        return reference

    def _reference(self, ctype: drgn.Type) -> dict:
        kind = ctype.kind
        if kind == TypeKind.TYPEDEF:
            return self._reference(ctype.type)
        if kind == TypeKind.POINTER:
            return {"kind": "pointer", "subtype": self._reference(ctype.type)}
        if kind == TypeKind.ARRAY:
            return {"kind": "array", "count": ctype.length or 0, "subtype": self._reference(ctype.type)}
        if kind == TypeKind.FUNCTION:
            return {"kind": "function"}
        if kind == TypeKind.VOID:
            return {"kind": "base", "name": "void"}
        if kind in _COMPOUNDS:
            return self._compound(ctype)
        if kind == TypeKind.ENUM:
            return self._enum(ctype)
        return self._base(ctype)

    def _base(self, ctype: drgn.Type) -> dict:
        name = _DWARF_NAMES.get(ctype.name, ctype.name)
        self.base_types.setdefault(name, {
            "size": ctype.size, "kind": "char" if name == "char" else _BASES[ctype.kind], "endian": "little",
            "signed": ctype.kind == TypeKind.INT and ctype.is_signed})
        return {"kind": "base", "name": name}

    def _enum(self, ctype: drgn.Type) -> dict:
        name = self._name(ctype)
        if name not in self.enums and ctype.is_complete():
            self.enums[name] = {
                "size": ctype.type.size, "base": self._base(ctype.type)["name"],
                "constants": {entry.name: entry.value for entry in ctype.enumerators}}
        return {"kind": "enum", "name": name}

    def _compound(self, ctype: drgn.Type) -> dict:
        name = self._name(ctype)
        if name not in self.user_types:
            complete = self._complete(ctype)
            if complete is not None:
                self.user_types[name] = {"size": complete.size, "kind": _COMPOUNDS[ctype.kind], "fields": {}}
                self._pending.append((name, complete))
        return {"kind": _COMPOUNDS[ctype.kind], "name": name}

    def _complete(self, ctype: drgn.Type) -> drgn.Type | None:
        """The definition of a type that this source file may only have declared."""
        if ctype.is_complete():
            return ctype
        try:
            return self._program.type(ctype.type_name())
        except LookupError:
            return None  # opaque everywhere in the kernel; only pointers to it exist

    @staticmethod
    def _name(ctype: drgn.Type) -> str:
        # The text of an anonymous type is its definition, so equal definitions share one name.
        return ctype.tag or "unnamed_" + hashlib.sha1(str(ctype).encode()).hexdigest()[:16]

    def _fields(self, compound: drgn.Type) -> dict:
        fields = {}
        for number, member in enumerate(compound.members):
            name = member.name or f"unnamed_field_{number}"
            fields[name] = {"type": self._reference(member.type), "offset": member.bit_offset // 8}
            if member.name is None:
                fields[name]["anonymous"] = True
            if member.bit_field_size is not None:
                fields[name] = self._bit_field(member)
        return fields

    def _bit_field(self, member: drgn.TypeMember) -> dict:
        unit = member.type.size * 8 if hasattr(member.type, "size") else drgn.sizeof(member.type) * 8
        start = member.bit_offset // unit * unit
        return {"offset": start // 8,
                "type": {"kind": "bitfield", "bit_length": member.bit_field_size,
                         "bit_position": member.bit_offset - start, "type": self._reference(member.type)}}


def _addresses(vmlinux: str) -> dict[str, dict]:
    """All symbols of the kernel; a global one hides local ones of the same name."""
    listing = subprocess.run(["nm", vmlinux], capture_output=True, text=True, check=True).stdout
    symbols: dict[str, dict] = {}
    for line in listing.splitlines():
        address, kind, name = line.split(maxsplit=2)
        if name not in symbols or kind.isupper():
            symbols[name] = {"address": int(address, 16)}
    return symbols


def _banner(vmlinux: str, address: int) -> str:
    """linux_banner's bytes, with the final NUL: Volatility looks for them to tell which kernel it has."""
    headers = subprocess.run(["readelf", "-SW", vmlinux], capture_output=True, text=True, check=True).stdout
    for line in headers.splitlines():
        fields = line.rpartition("]")[2].split()
        if len(fields) > 4 and fields[1] == "PROGBITS":
            start, offset, size = (int(field, 16) for field in fields[2:5])
            if start <= address < start + size:
                with open(vmlinux, "rb") as file:
                    file.seek(offset + address - start)
                    text = file.read(1024).split(b"\0", 1)[0] + b"\0"
                return base64.b64encode(text).decode()
    raise SystemExit(f"{vmlinux}: linux_banner lies in no section")


def main():
    vmlinux = sys.argv[1]
    program = drgn.Program()
    program.load_debug_info([vmlinux])
    isf = Isf(program)
    for name in _TYPE_ROOTS:
        isf.add(program.type("struct " + name))
    symbols = _addresses(vmlinux)
    for name in _TYPED_SYMBOLS:
        if name in symbols:  # some appear only in other configurations of the kernel
            symbols[name]["type"] = isf.add(program.variable(name).type_)
    symbols["linux_banner"].update(
        type={"kind": "array", "count": 0, "subtype": {"kind": "base", "name": "char"}},
        constant_data=_banner(vmlinux, symbols["linux_banner"]["address"]))
    json.dump({
        "metadata": {"format": "6.2.0", "producer": {"name": "vmconvert-lab", "version": "1"},
                     "linux": {"symbols": [], "types": []}},
        "base_types": isf.base_types, "user_types": isf.user_types, "enums": isf.enums, "symbols": symbols,
    }, sys.stdout)


if __name__ == "__main__":
    main()
