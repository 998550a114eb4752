#pragma once

#include "vmconvert/kernel/kernel_image.h"
#include "vmconvert/kernel/page_tables.h"
#include "vmconvert/model/kernel_facts.h"

namespace vmconvert {

/// A kernel that was reached through page tables.
struct FoundKernel {
  KernelFacts facts;
  KernelImageContent content;
  PageTables tables;  ///< refers to the image it was found in
};

}  // namespace vmconvert
