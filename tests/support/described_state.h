#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "support/byte_writer.h"
#include "support/qevm_builder.h"

namespace vmconvert::test {

/// A device's state together with its description, field by field in the order of the wire. Fields
/// that are not given values get such as no other field of any vCPU has.
class DescribedState {
 public:
  /// @param seed  tells the values of one vCPU from those of another
  explicit DescribedState(std::uint64_t seed = 0) : seed_(seed) {}

  DescribedState& field(std::string_view name, unsigned size, unsigned count = 1);
  /// Of size 16, what is given is the first half on the wire and its complement the second.
  DescribedState& values(std::string_view name, unsigned size, std::vector<std::uint64_t> values);
  /// An array of x86 segments: selector, base, limit, flags, of which base has this size.
  DescribedState& segments(std::string_view name, unsigned base_size, unsigned count = 1);
  /// The fields from here on are those of this subsection.
  DescribedState& subsection(std::string_view name);

  /// The same, of a subsection of the last subsection.
  DescribedState& nested_subsection(std::string_view name);

  /// What a field's element holds; its path as of the description: "cpu/fpu/env.fpc".
  std::uint64_t value(std::string_view path, std::size_t index = 0) const;

  const Bytes& bytes() const { return out_.bytes(); }
  DeviceOptions options(std::uint32_t instance, std::uint32_t version) const;

 private:
  std::uint64_t next_value(unsigned size);
  void put(std::uint64_t value, unsigned size);
  void describe(const std::string& object);

  std::uint64_t seed_;
  std::uint64_t made_ = 0;
  ByteWriter out_;
  std::string prefix_;
  std::string fields_;
  struct Subsection {
    std::string name, fields;
    bool nested = false;  ///< in the one before
  };
  std::vector<Subsection> subsections_;
  std::map<std::string, std::vector<std::uint64_t>, std::less<>> values_;
};

/// States of section "cpu" as QEMU 7.2 and 10.0 write them, without the fields nobody reads.
DescribedState aarch64_state(std::uint64_t seed, std::uint64_t pstate = 0x600000c5,
                             std::uint64_t sctlr = 0x30d0198d);
DescribedState s390x_state(std::uint64_t seed);
DescribedState ppc64_state(std::uint64_t seed, std::uint64_t lpcr = 0x02000000);
DescribedState riscv64_state(std::uint64_t seed, unsigned register_size = 8);
/// @param long_size  4: of qemu-system-i386
DescribedState x86_state(std::uint64_t seed, unsigned long_size, std::uint64_t hflags);

}  // namespace vmconvert::test
