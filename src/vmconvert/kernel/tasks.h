#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmconvert/kernel/kernel_image.h"
#include "vmconvert/kernel/page_tables.h"

namespace vmconvert {

struct Task {
  std::int32_t pid = 0;
  std::string comm;
};

/// The tasks on the list that begins at init_task, it included, found by the kernel's own type
/// information. Nothing if the kernel carries none (CONFIG_DEBUG_INFO_BTF), or if a link of the
/// list does not lead back to where it came from.
std::optional<std::vector<Task>> list_tasks(const PageTables& tables,
                                            const KernelImageContent& content);

}  // namespace vmconvert
