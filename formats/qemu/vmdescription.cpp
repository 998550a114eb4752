#include "qemu/vmdescription.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "qemu/qevm_format.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

using nlohmann::json;

std::uint64_t number(const json& object, const char* key, std::uint64_t otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>()
                                                              : otherwise;
}

std::string text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// Saturates: a hostile number must not wrap to a plausible one.
std::uint64_t plus(std::uint64_t a, std::uint64_t b) {
  return std::min(kLargestBlock, a + std::min(kLargestBlock, b));
}
std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  return a != 0 && b > kLargestBlock / a ? kLargestBlock : a * b;
}

/// Bytes of a VMState on the wire: its fields, then its subsections, each with a header of
/// 05, u8 length, name, be32 version. Subsections of a nested struct are part of that field's size.
std::uint64_t payload_size(const json& state) {
  std::uint64_t size = 0;
  if (const auto fields = state.find("fields"); fields != state.end() && fields->is_array()) {
    for (const json& field : *fields) {
      if (field.is_object())
        size = plus(size, times(number(field, "size", 0), number(field, "array_len", 1)));
    }
  }
  if (const auto subs = state.find("subsections"); subs != state.end() && subs->is_array()) {
    for (const json& sub : *subs) {
      if (sub.is_object())
        size = plus(size, plus(6 + text(sub, "vmsd_name").size(), payload_size(sub)));
    }
  }
  return size;
}

}  // namespace

std::optional<std::vector<DescribedSection>> parse_vmdescription(std::string_view json_text) {
  if (!is_shallow_json(json_text)) return std::nullopt;
  const json root = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return std::nullopt;
  const auto devices = root.find("devices");
  if (devices == root.end() || !devices->is_array()) return std::nullopt;
  std::vector<DescribedSection> result;
  for (const json& device : *devices) {
    if (!device.is_object()) return std::nullopt;
    result.push_back(
        {text(device, "name"), number(device, "instance_id", 0), payload_size(device)});
  }
  return result;
}

std::optional<FileRange> find_vmdescription_at_end(const ByteSource& source, FileRange window) {
  constexpr std::uint64_t kStep = 64 * 1024;
  std::vector<std::byte> buffer;
  std::optional<FileOffset> end;  // of the JSON: after its last '}'
  for (FileOffset upper = window.end(); upper > window.begin();) {
    if (end && *end - upper > kLargestDescription) return std::nullopt;
    const FileRange step =
        FileRange::between({upper.value - std::min(kStep, upper - window.begin())}, upper);
    buffer.resize(static_cast<std::size_t>(step.size()));
    source.read_at(step.begin(), buffer);
    upper = step.begin();
    std::span<const std::byte> bytes(buffer);
    if (!end) {
      while (!bytes.empty() && bytes.back() == std::byte{0}) bytes = bytes.first(bytes.size() - 1);
      if (bytes.empty()) continue;
      if (bytes.back() != std::byte{'}'}) return std::nullopt;
      end = step.begin() + bytes.size();
    }
    const auto nul = std::find(bytes.rbegin(), bytes.rend(), std::byte{0});
    if (nul == bytes.rend()) continue;
    // The last zero byte is in the length, which begins with one; the JSON follows within 4 bytes.
    const FileOffset last_zero = step.begin() + static_cast<std::uint64_t>(bytes.rend() - nul - 1);
    for (std::uint64_t k = 1; k <= 4; ++k) {
      const FileOffset begin = last_zero + k;
      if (begin >= *end || begin - window.begin() < 5) continue;
      std::array<std::byte, 6> head{};  // 06, be32 length, '{'
      source.read_at({begin.value - 5}, head);
      if (head[0] == std::byte{static_cast<unsigned char>(Element::vmdescription)} &&
          load<std::uint32_t>(std::span(head).subspan(1), std::endian::big) == *end - begin &&
          head[5] == std::byte{'{'}) {
        return FileRange::between(begin, *end);
      }
    }
    return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace vmconvert::qemu
