#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::elf_dump {

/// ELF dumps of a guest: by QEMU's dump-guest-memory, /proc/vmcore of Linux, makedumpfile -E, and
/// our own. Cores of a process that runs a guest are another format. docs/formats/elf.md
extern const Format kElf;

}  // namespace vmconvert::elf_dump
