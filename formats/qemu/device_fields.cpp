#include "qemu/device_fields.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <span>

#include "qemu/qevm_format.h"
#include "qemu/vmdescription.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

using nlohmann::json;

// A PC with 288 vCPUs has about 90,000. More would let a small file take much memory.
constexpr std::size_t kMostFields = std::size_t{1} << 19;
// Of a subsection's header: mark, length of the name, the name, be32 version.
constexpr std::uint64_t kSubsectionHead = 1 + 1 + 4;

std::uint64_t number(const json& object, const char* key, std::uint64_t otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>()
                                                              : otherwise;
}

std::string text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// Saturate: a hostile number must not wrap to a plausible one.
std::uint64_t plus(std::uint64_t a, std::uint64_t b) {
  return std::min(kLargestBlock, a + std::min(kLargestBlock, b));
}
std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  return a != 0 && b > kLargestBlock / a ? kLargestBlock : a * b;
}

/// Turns the JSON of states into fields, up to kMostFields of them. Recursion is as deep as the
/// JSON, which the caller limits.
class Builder {
 public:
  bool is_full() const { return fields_ > kMostFields; }

  /// Fields and subsections of a VMState, in the order of the wire, from `offset` on.
  /// @returns the offset of what follows
  std::uint64_t add_state(const json& state, std::uint64_t offset, std::vector<DeviceField>& to) {
    if (const auto fields = state.find("fields"); fields != state.end() && fields->is_array()) {
      for (const json& field : *fields) offset = add_field(field, offset, to);
    }
    if (const auto subs = state.find("subsections"); subs != state.end() && subs->is_array()) {
      for (const json& sub : *subs) offset = add_subsection(sub, offset, to);
    }
    return offset;
  }

 private:
  std::uint64_t add_field(const json& object, std::uint64_t offset, std::vector<DeviceField>& to) {
    if (!object.is_object() || ++fields_ > kMostFields) return offset;
    DeviceField field{text(object, "name"),
                      text(object, "type"),
                      offset,
                      std::min(number(object, "size", 0), kLargestBlock),
                      std::min(number(object, "array_len", 1), kLargestBlock),
                      {}};
    // Elements of an array that are described one by one have the same name and an index.
    if (const auto index = object.find("index");
        index != object.end() && index->is_number_unsigned()) {
      field.name += "[" + std::to_string(index->get<std::uint64_t>()) + "]";
    }
    // A structure's state is an object of its own, or (vstruct, tmp) part of the field's. Of a
    // qtailq, whose elements share one object under the same keys, nothing but the size is known.
    if (field.type == "struct") {
      const auto inner = object.find("struct");
      if (inner != object.end() && inner->is_object()) add_state(*inner, 0, field.members);
    } else if (field.type == "vstruct" || field.type == "tmp") {
      add_state(object, 0, field.members);
    }
    to.push_back(std::move(field));
    return plus(offset, times(to.back().size, to.back().count));
  }

  std::uint64_t add_subsection(const json& object, std::uint64_t offset,
                               std::vector<DeviceField>& to) {
    if (!object.is_object() || ++fields_ > kMostFields) return offset;
    DeviceField field{text(object, "vmsd_name"), "subsection", 0, 0, 1, {}};
    field.offset = plus(offset, kSubsectionHead + field.name.size());
    field.size = add_state(object, 0, field.members);
    to.push_back(std::move(field));
    return plus(to.back().offset, to.back().size);
  }

  std::size_t fields_ = 0;
};

const DeviceField* find_member(const DeviceField& parent, std::string_view name) {
  const auto found = std::find_if(parent.members.begin(), parent.members.end(),
                                  [&](const DeviceField& field) { return field.name == name; });
  return found == parent.members.end() ? nullptr : &*found;
}

struct Indexed {
  std::string_view name;
  std::uint64_t index = 0;
};

/// "regs[2]" taken apart.
std::optional<Indexed> split_index(std::string_view step) {
  const std::size_t open = step.rfind('[');
  if (open == std::string_view::npos || !step.ends_with(']')) return std::nullopt;
  const std::string_view digits = step.substr(open + 1, step.size() - open - 2);
  std::uint64_t index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return Indexed{step.substr(0, open), index};
}

/// A member, or one element of a member that is an array; its offset is from the start of `parent`.
std::optional<FieldPlace> find_step(const DeviceField& parent, std::string_view step) {
  if (const DeviceField* field = find_member(parent, step)) {
    return FieldPlace{field->offset, field->size, field->count, field};
  }
  const auto indexed = split_index(step);
  if (!indexed) return std::nullopt;
  const DeviceField* field = find_member(parent, indexed->name);
  if (field == nullptr || indexed->index >= field->count) return std::nullopt;
  return FieldPlace{plus(field->offset, times(field->size, indexed->index)), field->size, 1, field};
}

std::uint64_t load_number(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const std::byte b : bytes) value = value << 8 | std::to_integer<std::uint64_t>(b);
  return value;
}

bool is_integer_size(std::uint64_t size) {
  return size == 1 || size == 2 || size == 4 || size == 8;
}

}  // namespace

std::optional<DeviceFields> DeviceFields::parse(std::string_view json_text) {
  if (!is_shallow_json(json_text)) return std::nullopt;
  const json root = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return std::nullopt;
  const auto devices = root.find("devices");
  if (devices == root.end() || !devices->is_array()) return std::nullopt;
  DeviceFields result;
  result.has_configuration_ = root.contains("configuration");
  Builder builder;
  for (const json& device : *devices) {
    if (!device.is_object() || result.devices_.size() == kMostSections) return std::nullopt;
    DeviceField state;
    state.size = builder.add_state(device, 0, state.members);
    if (builder.is_full()) return std::nullopt;
    result.devices_.try_emplace({text(device, "name"), number(device, "instance_id", 0)},
                                std::move(state));
  }
  return result;
}

std::optional<DeviceFields> DeviceFields::read(const QevmStream& stream, const ByteSource& source) {
  if (!stream.description) return std::nullopt;
  std::string json_text(static_cast<std::size_t>(stream.description->size()), '\0');
  source.read_at(stream.description->begin(), std::as_writable_bytes(std::span(json_text)));
  return parse(json_text);
}

const DeviceField* DeviceFields::find(std::string_view idstr, std::uint64_t instance_id) const {
  const auto found = devices_.find(std::pair(std::string(idstr), instance_id));
  return found == devices_.end() ? nullptr : &found->second;
}

std::optional<FieldPlace> find_field(const DeviceField& root, std::string_view path) {
  FieldPlace place{0, root.size, 1, &root};
  for (std::size_t begin = 0; begin <= path.size();) {
    // A step ends at the next slash, unless the name itself has slashes.
    std::optional<FieldPlace> next;
    std::size_t end = begin;
    do {
      end = std::min(path.find('/', end), path.size());
      next = find_step(*place.field, path.substr(begin, end - begin));
      ++end;
    } while (!next && end <= path.size());
    if (!next) return std::nullopt;
    place = {plus(place.offset, next->offset), next->size, next->count, next->field};
    begin = end;
  }
  return place;
}

std::optional<FieldPlace> DeviceState::place(std::string_view path) const {
  const auto place = find_field(*root_, path);
  if (!place) return std::nullopt;
  const std::uint64_t size = times(place->size, place->count);
  const std::uint64_t available = section_->payload.size();
  if (size > available || place->offset > available - size) return std::nullopt;
  return place;
}

std::optional<FileRange> DeviceState::range(std::string_view path) const {
  const auto found = place(path);
  if (!found) return std::nullopt;
  return FileRange::sized(section_->payload.begin() + found->offset, found->size * found->count);
}

std::optional<std::uint64_t> DeviceState::number(std::string_view path) const {
  const auto found = place(path);
  if (!found || found->count != 1 || !is_integer_size(found->size)) return std::nullopt;
  const auto values = bytes(path);
  return values ? std::optional(load_number(*values)) : std::nullopt;
}

std::optional<std::vector<std::uint64_t>> DeviceState::numbers(std::string_view path,
                                                               std::size_t most) const {
  const auto found = place(path);
  if (!found || !is_integer_size(found->size)) return std::nullopt;
  const auto all = bytes(path, most);
  if (!all) return std::nullopt;
  std::vector<std::uint64_t> values;
  for (std::size_t at = 0; at < all->size(); at += static_cast<std::size_t>(found->size)) {
    values.push_back(
        load_number(std::span(*all).subspan(at, static_cast<std::size_t>(found->size))));
  }
  return values;
}

std::optional<std::vector<std::byte>> DeviceState::bytes(std::string_view path,
                                                         std::size_t most) const {
  const auto where = range(path);
  if (!where || where->size() > most) return std::nullopt;
  std::vector<std::byte> out(static_cast<std::size_t>(where->size()));
  source_->read_at(where->begin(), out);
  return out;
}

}  // namespace vmconvert::qemu
