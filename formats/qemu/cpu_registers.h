#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "qemu/device_fields.h"
#include "vmconvert/model/vcpu.h"

namespace vmconvert::qemu {

/// Reads the fields of one "cpu" section and remembers what was not there.
class RegisterReader {
 public:
  /// `state` must outlive this.
  explicit RegisterReader(const DeviceState& state) : state_(&state) {}

  /// Zero if the field is missing.
  std::uint64_t number(const std::string& path) {
    const auto value = state_->number(path);
    if (!value) note_missing(path);
    return value.value_or(0);
  }
  std::uint32_t number32(const std::string& path) {
    return static_cast<std::uint32_t>(number(path));
  }
  /// The first N elements; zeros if there are not as many.
  template <std::size_t N>
  std::array<std::uint64_t, N> numbers(const std::string& path) {
    std::array<std::uint64_t, N> result{};
    const auto values = state_->numbers(path);
    if (!values || values->size() < N) {
      note_missing(path);
      return result;
    }
    for (std::size_t i = 0; i < N; ++i) result[i] = (*values)[i];
    return result;
  }
  bool has(std::string_view path) const { return state_->has(path); }
  const DeviceState& state() const { return *state_; }

  /// The first field that was asked for and is not there; empty if none was.
  const std::string& missing() const { return missing_; }

 private:
  void note_missing(const std::string& path) {
    if (missing_.empty()) missing_ = path;
  }

  const DeviceState* state_;
  std::string missing_;
};

// One decoder for each architecture: registers from the fields of a "cpu" section. What the section
// lacks is zero and noted by the reader; optional parts are left out.
X86Registers read_x86_registers(RegisterReader& reader);
Aarch64Registers read_aarch64_registers(RegisterReader& reader);
S390xRegisters read_s390x_registers(RegisterReader& reader);
Ppc64Registers read_ppc64_registers(RegisterReader& reader);
Riscv64Registers read_riscv64_registers(RegisterReader& reader);

/// Where the fields lie in a section of this version without a description; nothing if that is not
/// known. The section's content is checked as far as it can be.
std::optional<DeviceField> fixed_x86_layout(const DeviceSection& section, const ByteSource& source);
std::optional<DeviceField> fixed_aarch64_layout(const DeviceSection& section,
                                                const ByteSource& source);
std::optional<DeviceField> fixed_s390x_layout(const DeviceSection& section,
                                              const ByteSource& source);
std::optional<DeviceField> fixed_ppc64_layout(const DeviceSection& section,
                                              const ByteSource& source);

/// True if the registers of an ARM CPU's "cpu" section are of one that has AArch64 state.
bool is_aarch64_cpu(const DeviceState& state);

}  // namespace vmconvert::qemu
