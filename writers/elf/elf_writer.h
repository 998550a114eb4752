#pragma once

#include "vmconvert/model/output_format.h"

namespace vmconvert::elf {

/// An ELF64 vmcore. docs/writers/elf.md
extern const OutputFormat kElf;

}  // namespace vmconvert::elf
