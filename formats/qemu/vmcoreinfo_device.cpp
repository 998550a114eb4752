#include "qemu/vmcoreinfo_device.h"

#include <bit>
#include <concepts>
#include <span>
#include <string>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU, docs/specs/vmcoreinfo.rst and hw/misc/vmcoreinfo.c. The section holds
//   0 u8 has_vmcoreinfo, 1 u16 host_format, 3 u16 guest_format, 5 u32 size, 9 u64 paddr
// whose numbers are little-endian in QEMU's memory but are saved as the host understood them: with
// their bytes swapped by a big-endian host. size is what the guest allocated for an ELF note, whose
// real size its header tells.
constexpr std::uint16_t kFormatElf = 1;
constexpr std::uint32_t kLargestNote = 1U << 20;
constexpr std::size_t kNoteHeader = 12;
constexpr std::string_view kNoteName{"VMCOREINFO\0", 11};
constexpr std::size_t kTextAt = kNoteHeader + 12;  // the name is padded to 4 bytes

/// The integer with its bytes in reverse order.
template <std::unsigned_integral T>
T swapped(T value) {
  const Packed<T, std::endian::big> bytes(value);
  return load<T>(std::as_bytes(std::span(&bytes, 1)), std::endian::little);
}

struct Place {
  GuestPhysAddr at;
  std::uint32_t size = 0;
};

std::optional<Place> read_device_state(const QevmStream& stream, const ByteSource& source) {
  const DeviceSection* section = stream.find_section("vmcoreinfo");
  if (section == nullptr || section->payload.size() < 17) return std::nullopt;
  Cursor cursor(source, section->payload, std::endian::big);
  const bool has = cursor.read<std::uint8_t>("has_vmcoreinfo") == 1;
  cursor.read<std::uint16_t>("host_format");  // the guest overwrites it
  auto format = cursor.read<std::uint16_t>("guest_format");
  auto size = cursor.read<std::uint32_t>("size");
  auto paddr = cursor.read<std::uint64_t>("paddr");
  if (format == swapped(kFormatElf)) {
    format = kFormatElf, size = swapped(size), paddr = swapped(paddr);
  }
  if (!has || format != kFormatElf || size < kTextAt || size > kLargestNote) return std::nullopt;
  return Place{{paddr}, size};
}

}  // namespace

std::optional<Vmcoreinfo> read_vmcoreinfo(const GuestImage& image, const QevmStream& stream,
                                          const ByteSource& source, Diagnostics& diagnostics) {
  const auto place = read_device_state(stream, source);
  if (!place) {
    diagnostics.decision(source.name(),
                         "no VMCOREINFO: the guest did not announce one to the vmcoreinfo device");
    return std::nullopt;
  }
  const std::string where = "guest address " + hex(place->at.value);
  const auto refuse = [&](std::string_view why) {
    diagnostics.warn(source.name(),
                     "VMCOREINFO at " + where + " " + std::string(why) + ", not used");
    return std::nullopt;
  };
  std::vector<std::byte> note(place->size);
  if (!read_guest(image, place->at, note)) return refuse("lies outside guest memory");
  const auto word = [&](std::size_t at) {
    return load<std::uint32_t>(std::span(note).subspan(at), image.byte_order);
  };
  const std::string_view text(reinterpret_cast<const char*>(note.data()), note.size());
  if (word(0) != kNoteName.size() || text.substr(kNoteHeader, kNoteName.size()) != kNoteName) {
    return refuse("is not a VMCOREINFO note");
  }
  const std::uint32_t size = word(4);
  if (size > note.size() - kTextAt) return refuse("is longer than what the guest announced");
  diagnostics.decision(source.name(), "VMCOREINFO of " + counted(size, "byte") +
                                          " from the vmcoreinfo device, " + where);
  return Vmcoreinfo{std::string(text.substr(kTextAt, size)), "vmcoreinfo device, " + where};
}

}  // namespace vmconvert::qemu
