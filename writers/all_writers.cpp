#include "all_writers.h"

#include <array>

#include "elf/elf_writer.h"
#include "lime/lime_writer.h"
#include "raw/raw_writer.h"

namespace vmconvert {

std::span<const OutputFormat> all_writers() {
  static const std::array table{elf::kElf, raw::kRaw, lime::kLime};
  return table;
}

}  // namespace vmconvert
