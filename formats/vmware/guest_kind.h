#pragma once

#include <optional>
#include <string>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/machine.h"
#include "vmware/checkpoint.h"
#include "vmware/cpu_group.h"

namespace vmconvert::vmware {

/// The number in a tag without indices; nothing if there is no such number, or the group is damaged
/// before it.
std::optional<std::uint64_t> find_number(const Checkpoint& checkpoint, std::string_view group,
                                         std::string_view name);

/// Bytes of RAM, as group Checkpoint tells.
std::optional<std::uint64_t> ram_size(const Checkpoint& checkpoint);

/// True if the guest is one of ARM64.
bool is_arm(const Checkpoint& checkpoint, const CpuGroup& cpus);

/// What processor an x86 guest has: by its registers, then by guestOS of the configuration, then by
/// the user's word.
/// @throws Error(usage) if the user's word is of another family
GuestMachine guest_machine(const Checkpoint& checkpoint, const CpuGroup& cpus,
                           const std::optional<GuestMachine>& wanted, Diagnostics& diagnostics);

}  // namespace vmconvert::vmware
