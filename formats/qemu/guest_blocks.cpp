#include "qemu/guest_blocks.h"

#include <algorithm>
#include <array>
#include <string>
#include <tuple>

#include "vmconvert/base/error.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

constexpr std::uint64_t kCmosUnit = 64 * 1024;

// Blocks that QEMU's boards and devices make for anything but guest memory, where the name does not
// begin with a device path.
constexpr std::array<std::string_view, 10> kNotMemory{"pc.bios",
                                                     "pc.rom",
                                                     "isa-bios",
                                                     "vga.vram",
                                                     "vga.rom",
                                                     "vmsvga.fifo",
                                                     "tpm-ppi",
                                                     "pvtime",
                                                     "bochs-display-vram",
                                                     "riscv_virt_board.mrom"};
constexpr std::array<std::string_view, 9> kNotMemoryPrefixes{
    "/rom@",      "sgx",         "ivshmem",         "system.flash", "virt.flash",
    "sbsa.flash", "virt.secure", "sbsa-ref.secure", "mach-virt.tag"};

std::optional<std::string_view> device_path(std::string_view name) {
  const auto slash = name.rfind('/');
  if (name.starts_with('/') || slash == std::string_view::npos) return std::nullopt;
  return name.substr(0, slash);
}

bool is_memory_name(std::string_view name) {
  const std::string_view id = backend_id(name);
  if (id.find('/') != std::string_view::npos) return false;
  if (std::find(kNotMemory.begin(), kNotMemory.end(), id) != kNotMemory.end()) return false;
  return std::none_of(kNotMemoryPrefixes.begin(), kNotMemoryPrefixes.end(),
                      [&](std::string_view prefix) { return name.starts_with(prefix); });
}

/// "ram-node10" after "ram-node9": the text, then the number it ends with.
std::pair<std::string_view, std::uint64_t> natural_key(std::string_view name) {
  const auto last_other = name.find_last_not_of("0123456789");
  const std::string_view digits =
      last_other == std::string_view::npos ? name : name.substr(last_other + 1);
  std::uint64_t number = 0;
  for (const char c : digits.substr(0, 18))
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  return {name.substr(0, name.size() - digits.size()), number};
}

/// PCI devices name their blocks "PATH/vga.vram", "PATH/e1000.rom"; the memory backend of a
/// virtio-mem device keeps the id its user gave it.
bool is_device_block(std::string_view id) {
  constexpr std::array<std::string_view, 5> kSuffixes{".vram", ".rom", ".vgavram", ".vrom",
                                                      ".fifo"};
  return id == "bochs-display-vram" || id == "msix" || id.ends_with("-vram") ||
         std::any_of(kSuffixes.begin(), kSuffixes.end(),
                     [&](std::string_view s) { return id.ends_with(s); });
}

bool is_about(std::uint64_t blocks, std::uint64_t cmos) {
  return blocks >= cmos && blocks - cmos < kCmosUnit;
}

class Classifier {
 public:
  Classifier(std::span<const RamBlock> blocks, std::span<const std::string_view> default_names,
             std::optional<std::uint64_t> ram_size)
      : blocks_(blocks), default_names_(default_names), ram_size_(ram_size) {
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const std::string_view name = blocks[i].name;
      if (is_memory_name(name)) {
        candidates_.push_back(i);
      } else if (const auto path = device_path(name);
                 path && !name.starts_with("/") &&
                 !is_device_block(name.substr(path->size() + 1))) {
        result_.virtio_memory.push_back(i);
      }
    }
  }

  std::optional<GuestBlocks> classify() {
    for (const std::string_view name : default_names_) {
      if (const auto block = find_block(blocks_, name)) return split({*block});
    }
    std::vector<std::size_t> nodes = candidates_;
    std::erase_if(
        nodes, [&](std::size_t i) { return !backend_id(blocks_[i].name).starts_with("ram-node"); });
    if (!nodes.empty()) return split(in_natural_order(nodes));
    if (candidates_.size() == 1) return split(candidates_);
    if (!ram_size_) return std::nullopt;
    std::uint64_t sum = 0;
    for (const std::size_t i : candidates_) sum += blocks_[i].used_length;
    if (is_about(sum, *ram_size_)) return split(in_natural_order(candidates_));
    std::vector<std::size_t> exact = candidates_;
    std::erase_if(exact,
                  [&](std::size_t i) { return !is_about(blocks_[i].used_length, *ram_size_); });
    if (exact.size() == 1) return split(exact);
    return std::nullopt;
  }

  std::string candidate_names() const {
    std::string names;
    for (const std::size_t i : candidates_) {
      names += (names.empty() ? "" : ", ") + printable(blocks_[i].name) + " (" +
               human_size(blocks_[i].used_length) + ")";
    }
    return names.empty() ? "none" : names;
  }

 private:
  std::vector<std::size_t> in_natural_order(std::vector<std::size_t> indices) const {
    std::sort(indices.begin(), indices.end(), [&](std::size_t a, std::size_t b) {
      return natural_key(blocks_[a].name) < natural_key(blocks_[b].name);
    });
    return indices;
  }

  GuestBlocks split(std::vector<std::size_t> main_ram) {
    for (const std::size_t i : candidates_) {
      if (std::find(main_ram.begin(), main_ram.end(), i) == main_ram.end()) {
        result_.memory_devices.push_back(i);
      }
    }
    result_.main_ram = std::move(main_ram);
    return result_;
  }

  std::span<const RamBlock> blocks_;
  std::span<const std::string_view> default_names_;
  std::optional<std::uint64_t> ram_size_;
  std::vector<std::size_t> candidates_;
  GuestBlocks result_;
};

}  // namespace

std::string_view backend_id(std::string_view block_name) {
  constexpr std::string_view kObjects = "/objects/";
  return block_name.starts_with(kObjects) ? block_name.substr(kObjects.size()) : block_name;
}

std::optional<std::size_t> find_block(std::span<const RamBlock> blocks, std::string_view name) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].name == name) return i;
  }
  return std::nullopt;
}

GuestBlocks classify_blocks(std::span<const RamBlock> blocks,
                            std::span<const std::string_view> default_names,
                            std::optional<std::uint64_t> ram_size, std::string_view file) {
  Classifier classifier(blocks, default_names, ram_size);
  if (auto result = classifier.classify()) return *result;
  throw Error(
      ErrorKind::unsupported, file, std::nullopt,
      "cannot tell which memory blocks are main RAM; candidates: " + classifier.candidate_names());
}

}  // namespace vmconvert::qemu
