#include "qemu/qevm_metadata.h"

#include <array>
#include <cstdio>
#include <string_view>

#include "qemu/qevm_format.h"
#include "qemu/rtc_date.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu {
namespace {

/// 16 bytes as "01234567-89ab-cdef-0123-456789abcdef".
std::string uuid_text(std::string_view bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    std::array<char, 4> digits{};
    std::snprintf(digits.data(), digits.size(), "%02x", static_cast<unsigned char>(bytes[i]));
    text += digits.data();
  }
  return text;
}

void add_facts(const QevmStream& stream, Metadata& metadata) {
  const auto add = [&](std::string_view key, std::string value) {
    metadata.facts.push_back({std::string(key), std::move(value)});
  };
  add("qevm.version", std::to_string(kVersion));
  for (const std::string& capability : stream.capabilities) add("machine.capability", capability);
  if (!stream.uuid.empty()) add("machine.uuid", uuid_text(stream.uuid));
}

/// The guest's clock. Only of sections whose size is known: one that was searched for may be
/// something else.
void add_times(const QevmStream& stream, const ByteSource& source, Metadata& metadata) {
  if (const DeviceSection* rtc = stream.find_section("mc146818rtc");
      rtc != nullptr && rtc->sized && rtc->payload.size() >= sizeof(Cmos)) {
    Cmos cmos{};
    source.read_at(rtc->payload.begin(), cmos);
    if (const auto date = rtc_date(cmos)) metadata.facts.push_back({"guest.rtc", *date});
  }
  // QEMU, cpu-timers.c (in softmmu/ or system/), vmstate_timers, version 2: i64 cpu_ticks_offset, 8
  // unused bytes, i64 cpu_clock_offset, which is the virtual clock of a stopped machine.
  constexpr std::uint64_t kTimerSize = 24;
  if (const DeviceSection* timer = stream.find_section("timer");
      timer != nullptr && timer->sized && timer->version_id == 2 &&
      timer->payload.size() >= kTimerSize) {
    Cursor cursor(source, timer->payload, std::endian::big);
    cursor.take(16, "cpu_ticks_offset");
    const auto clock = cursor.read<std::uint64_t>("cpu_clock_offset");
    if (clock >> 63 == 0) metadata.facts.push_back({"guest.vm_clock_ns", std::to_string(clock)});
  }
}

void add_blocks(const QevmStream& stream, std::span<const Placement> placements,
                Metadata& metadata) {
  for (const RamBlock& block : stream.blocks)
    metadata.blocks.push_back({block.name, block.used_length, {}});
  std::vector<std::uint64_t> next(stream.blocks.size());  // offset after the last range
  for (const Placement& placement : placements) {
    std::vector<GuestRange>& ranges = metadata.blocks[placement.block].guest;
    const GuestRange guest = placement.guest;
    if (!ranges.empty() && ranges.back().end() == guest.begin() &&
        next[placement.block] == placement.offset) {
      ranges.back() = GuestRange::between(ranges.back().begin(), guest.end());
    } else {
      ranges.push_back(guest);
    }
    next[placement.block] = placement.offset + guest.size();
  }
}

}  // namespace

void describe_stream(const QevmStream& stream, std::span<const Placement> placements,
                     const ByteSource& source, GuestImage& image) {
  image.metadata.machine = stream.machine;
  add_facts(stream, image.metadata);
  add_times(stream, source, image.metadata);
  add_blocks(stream, placements, image.metadata);
  for (const DeviceSection& section : stream.sections) {
    image.metadata.devices.push_back({section.idstr, section.instance_id, section.version_id,
                                      section.sized ? section.payload.size() : 0});
  }
  if (stream.description) {
    image.attachments.push_back({Attachment::Kind::device_description, "vmdescription.json",
                                 "application/json", SourceBytes{0, *stream.description}});
  }
}

}  // namespace vmconvert::qemu
