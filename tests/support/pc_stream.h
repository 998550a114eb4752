#pragma once

#include "support/image_bytes.h"
#include "support/qevm_builder.h"

namespace vmconvert::test {

constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

/// The beginning of a stream up to the RAM section.
inline QevmBuilder pc(std::string_view machine = "pc-i440fx-7.2", bool footers = true) {
  QevmBuilder stream(footers);
  stream.header();
  if (!machine.empty()) stream.configuration(machine);
  return stream;
}

/// A whole stream: pc.ram of `pages` pages, where page i is page_of(i).
inline QevmBuilder small_pc(std::uint64_t pages = 16, std::string_view machine = "pc-i440fx-7.2",
                            bool footers = true) {
  QevmBuilder stream = pc(machine, footers);
  stream.ram_start({{"pc.ram", pages * 4096, {}}});
  stream.ram_part(RamPayload().pages("pc.ram", 0, 0, pages).eos());
  return stream.ram_end();
}

/// True if the guest's page at `gpa` is page_of(number).
inline bool is_page(const GuestImage& image, std::uint64_t gpa, std::uint64_t number) {
  return guest_bytes(image, gpa, 4096) == page_of(number);
}

inline bool is_filled(const GuestImage& image, std::uint64_t gpa, unsigned value) {
  return guest_bytes(image, gpa, 4096) == Bytes(4096, static_cast<std::byte>(value));
}

/// True if `pages` pages from `gpa` on are page_of(first_number), ...
inline bool are_pages(const GuestImage& image, std::uint64_t gpa, std::uint64_t first_number,
                      std::uint64_t pages) {
  for (std::uint64_t i = 0; i < pages; ++i) {
    if (!is_page(image, gpa + i * 4096, first_number + i)) return false;
  }
  return true;
}

}  // namespace vmconvert::test
