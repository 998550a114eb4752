#pragma once

#include <random>

#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/output_plan.h"

namespace vmconvert::test {

struct RandomImageOptions {
  std::uint64_t pages = 600;
  std::uint64_t longest_run = 200;  ///< pages
};

/// Three sources and runs of all kinds: plain, strided, filled with zero and with another byte,
/// file content that is zero; with gaps between some of them. Reads of it never leave its sources.
GuestImage random_image(std::mt19937_64& random, const RandomImageOptions& options = {});

/// Literals, gaps and parts of the image's extents, in any order and repeatedly.
OutputPlan random_plan(std::mt19937_64& random, const GuestImage& image);

}  // namespace vmconvert::test
