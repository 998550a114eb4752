#include "qemu/live_sections.h"

#include <algorithm>
#include <array>
#include <vector>

#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

// Truth for each grammar: the save functions named. Docs: docs/formats/qevm.md, "Other live
// sections".

/// migration/block-dirty-bitmap.c, send_bitmap_header().
void skip_dirty_bitmap(Cursor& cursor, LivePhase) {
  constexpr std::uint32_t kEos = 0x01, kZeroes = 0x02, kBitmapName = 0x04, kNodeName = 0x08,
                          kStart = 0x10, kBits = 0x40, kMoreFlags = 0x80;
  const auto skip_name = [&] {
    cursor.take(cursor.read<std::uint8_t>("dirty bitmap name length"), "dirty bitmap name");
  };
  for (;;) {
    std::uint32_t flags = cursor.read<std::uint8_t>("dirty bitmap flags");
    if ((flags & kMoreFlags) != 0) {
      const auto second = cursor.read<std::uint8_t>("dirty bitmap flags");
      flags = flags << 8 | second;
      if ((second & kMoreFlags) != 0)
        flags = flags << 16 | cursor.read<std::uint16_t>("dirty bitmap flags");
    }
    if ((flags & kNodeName) != 0) skip_name();
    if ((flags & kBitmapName) != 0) skip_name();
    if ((flags & kStart) != 0) cursor.take(5, "dirty bitmap granularity and flags");
    if ((flags & kBits) != 0) {
      cursor.take(12, "dirty bitmap first sector and count");
      if ((flags & kZeroes) == 0) {
        cursor.take(cursor.read<std::uint64_t>("dirty bitmap size"), "dirty bitmap content");
      }
    }
    if ((flags & kEos) != 0) return;
  }
}

/// hw/ppc/spapr.c, htab_save_setup() and htab_save_iterate().
void skip_spapr_htab(Cursor& cursor, LivePhase phase) {
  constexpr std::uint32_t kNoTable = 0xffffffff;
  const auto head = cursor.read<std::uint32_t>("hash table header");
  if (phase == LivePhase::start || head == kNoTable) return;
  if (head != 0) cursor.fail("hash table header", "is neither 0 nor -1");
  for (;;) {
    const auto index = cursor.read<std::uint32_t>("hash table index");
    const auto valid = cursor.read<std::uint16_t>("hash table valid count");
    const auto invalid = cursor.read<std::uint16_t>("hash table invalid count");
    if (index == 0 && valid == 0 && invalid == 0) return;
    cursor.take(std::uint64_t{16} * valid, "hash table entries");
  }
}

/// hw/s390x/s390-stattrib.c, cmma_save().
void skip_s390_storage_attributes(Cursor& cursor, LivePhase) {
  constexpr std::uint64_t kFlags = 0xfff, kEos = 1, kMore = 2, kDone = 8;
  for (;;) {
    const std::uint64_t flag = cursor.read<std::uint64_t>("storage attribute record") & kFlags;
    if (flag == kEos) return;
    if (flag == kMore) {
      cursor.take(cursor.read<std::uint64_t>("storage attribute count"), "storage attributes");
    } else if (flag != kDone) {
      cursor.fail("storage attribute record", "has unknown flag " + hex(flag));
    }
  }
}

/// migration/block.c of QEMU before 9.1, blk_send(): disks migrated along.
void skip_block(Cursor& cursor, LivePhase) {
  constexpr std::uint64_t kFlags = 0x1ff, kData = 0x01, kEos = 0x02, kProgress = 0x04, kZero = 0x08;
  constexpr std::uint64_t kBlockSize = std::uint64_t{1} << 20;
  for (;;) {
    const std::uint64_t flags = cursor.read<std::uint64_t>("disk block record") & kFlags;
    if ((flags & kData) != 0) {
      cursor.take(cursor.read<std::uint8_t>("disk name length"), "disk name");
      if ((flags & kZero) == 0) cursor.take(kBlockSize, "disk block");
    } else if ((flags & kEos) != 0) {
      return;
    } else if ((flags & kProgress) == 0) {
      cursor.fail("disk block record", "has unknown flags " + hex(flags));
    }
  }
}

/// Proxmox VE's QEMU, migration/pbs-state.c: once, at the start.
void skip_pbs_state(Cursor& cursor, LivePhase) {
  cursor.take(cursor.read<std::uint64_t>("backup state size"), "backup state");
}

constexpr std::uint64_t kVfioEndOfState = 0xffffffffef100001;

/// A PCI device's configuration, whose length nothing tells: up to the end tag.
void skip_to_vfio_end(Cursor& cursor) {
  std::array<std::byte, 64 * 1024> chunk{};
  std::array<std::byte, 8> tag{};
  for (std::size_t i = 0; i < tag.size(); ++i) {
    tag[i] = static_cast<std::byte>(kVfioEndOfState >> (8 * (tag.size() - 1 - i)));
  }
  for (;;) {
    const auto part =
        std::span(chunk).first(std::min<std::uint64_t>(chunk.size(), cursor.remaining()));
    cursor.peek_bytes(part);
    const auto found = std::search(part.begin(), part.end(), tag.begin(), tag.end());
    if (found != part.end()) {
      cursor.take(static_cast<std::uint64_t>(found - part.begin()), "VFIO device configuration");
      return;
    }
    if (part.size() < chunk.size()) cursor.fail("VFIO device configuration", "has no end tag");
    cursor.take(part.size() - tag.size() + 1, "VFIO device configuration");
  }
}

/// hw/vfio/migration.c.
void skip_vfio(Cursor& cursor, LivePhase) {
  constexpr std::uint64_t kConfig = kVfioEndOfState + 1, kSetup = kVfioEndOfState + 2,
                          kData = kVfioEndOfState + 3, kInitDataSent = kVfioEndOfState + 4;
  for (;;) {
    const auto tag = cursor.read<std::uint64_t>("VFIO record");
    if (tag == kVfioEndOfState) return;
    if (tag == kConfig) {
      skip_to_vfio_end(cursor);
    } else if (tag == kData) {
      cursor.take(cursor.read<std::uint64_t>("VFIO data size"), "VFIO data");
    } else if (tag != kSetup && tag != kInitDataSent) {
      cursor.fail("VFIO record", "has unknown tag " + hex(tag));
    }
  }
}

struct LiveSection {
  std::string_view name;
  bool is_suffix;  ///< the idstr is a device path that ends with the name
  SkipLivePayload skip;
};

constexpr std::array kLiveSections{
    LiveSection{"dirty-bitmap", false, skip_dirty_bitmap},
    LiveSection{"spapr/htab", false, skip_spapr_htab},
    LiveSection{"s390-storage_attributes", false, skip_s390_storage_attributes},
    LiveSection{"block", false, skip_block},
    LiveSection{"pbs-state", false, skip_pbs_state},
    LiveSection{"/vfio", true, skip_vfio},
    LiveSection{"VFIO", false, skip_vfio},
};

}  // namespace

SkipLivePayload find_live_section(std::string_view idstr) {
  for (const LiveSection& section : kLiveSections) {
    if (section.is_suffix ? idstr.ends_with(section.name) : idstr == section.name)
      return section.skip;
  }
  return nullptr;
}

}  // namespace vmconvert::qemu
