#include "vmware/guest_kind.h"

#include "vmconvert/base/text.h"
#include "vmware/dictionary.h"

namespace vmconvert::vmware {
namespace {

constexpr std::uint64_t kArmPlatform = 3;  // Fusion on Apple silicon; LeechCore
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kMostMiB = std::uint64_t{1} << 32;

template <class Value>
std::optional<Value> find_tag(const Checkpoint& checkpoint, std::string_view group,
                              std::string_view name,
                              const std::function<std::optional<Value>(const Tag&)>& read) {
  std::optional<Value> found;
  const Group* wanted = checkpoint.find(group);
  if (wanted == nullptr) return std::nullopt;
  try {
    checkpoint.walk(*wanted, [&](const Tag& tag) {
      if (tag.name == name && tag.index_count == 0) found = read(tag);
      return !found;
    });
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::io) throw;
  }
  return found;
}

std::optional<std::string> guest_os(const Checkpoint& checkpoint) {
  const auto text = find_tag<std::string>(checkpoint, "Snapshot", "cfgFile", [&](const Tag& tag) {
    return std::optional(checkpoint.text(tag, kLargestDictionary));
  });
  return text ? Dictionary(*text).find("guestOS") : std::nullopt;
}

void check_family(const Checkpoint& checkpoint, const GuestMachine& found,
                  const std::optional<GuestMachine>& wanted) {
  const auto is_x86 = [](Arch arch) { return arch == Arch::x86_64 || arch == Arch::i386; };
  if (!wanted || *wanted == found || (is_x86(wanted->arch) && is_x86(found.arch))) return;
  throw Error(ErrorKind::usage, checkpoint.source()->name(), std::nullopt,
              "is of a guest of " + machine_name(found) + ", not of " + machine_name(*wanted) +
                  " as --arch says");
}

}  // namespace

std::optional<std::uint64_t> find_number(const Checkpoint& checkpoint, std::string_view group,
                                         std::string_view name) {
  return find_tag<std::uint64_t>(checkpoint, group, name,
                                 [&](const Tag& tag) { return checkpoint.number(tag); });
}

std::optional<std::uint64_t> ram_size(const Checkpoint& checkpoint) {
  const auto mib = find_number(checkpoint, "Checkpoint", "memSize");
  if (!mib || *mib == 0 || *mib > kMostMiB) return std::nullopt;
  return *mib * kMiB;
}

bool is_arm(const Checkpoint& checkpoint, const CpuGroup& cpus) {
  return cpus.arm || find_number(checkpoint, "Checkpoint", "Platform") == kArmPlatform;
}

GuestMachine guest_machine(const Checkpoint& checkpoint, const CpuGroup& cpus,
                           const std::optional<GuestMachine>& wanted, Diagnostics& diagnostics) {
  const std::string& file = checkpoint.source()->name();
  const bool arm = is_arm(checkpoint, cpus);
  GuestMachine found{.arch = arm ? Arch::aarch64 : Arch::x86_64};
  check_family(checkpoint, found, wanted);
  if (arm) return found;
  const auto os = guest_os(checkpoint);
  if (cpus.beyond_32_bits) {
    diagnostics.decision(file, "a 64-bit guest: addresses in its registers are beyond 32 bits");
  } else if (wanted) {
    found = *wanted;
  } else if (os) {
    found.arch = os->ends_with("-64") ? Arch::x86_64 : Arch::i386;
    diagnostics.decision(file, "guest of " + machine_name(found) + ", as guestOS " + quoted(*os) +
                                   " of the configuration says");
  } else if (!cpus.vcpus.empty()) {
    found.arch = Arch::i386;
    diagnostics.decision(file, "a 32-bit guest: all addresses in its registers are below 4 GiB");
  } else {
    diagnostics.warn(file, "does not tell the guest's architecture; x86_64 is assumed (--arch)");
  }
  return found;
}

}  // namespace vmconvert::vmware
