#include "vmconvert/convert/convert.h"

#include <algorithm>
#include <vector>

#include "vmconvert/base/text.h"
#include "vmconvert/convert/choose_format.h"
#include "vmconvert/convert/output_target.h"
#include "vmconvert/io/input.h"
#include "vmconvert/kernel/find_kernel.h"

namespace vmconvert {
namespace {

void check_space(const OutputPlan& plan, const GuestImage& image, OutputTarget& target,
                 const ConvertRequest& request) {
  std::vector<bool> shares;
  for (const auto& source : image.sources) shares.push_back(target.sink().can_share(*source));
  const std::uint64_t needed = request.sparse ? data_bytes(plan, image, shares) : plan.size;
  const std::uint64_t free = target.free_bytes();
  if (needed <= free) return;
  throw Error(ErrorKind::io, request.output, std::nullopt,
              "not enough room: " + human_size(needed) + " needed, " + human_size(free) + " free");
}

void write_output(const OutputPlan& plan, const GuestImage& image, const ConvertRequest& request,
                  const ConvertContext& context) {
  OutputTarget target(request.output, request.force, request.sparse, context.temporaries);
  check_space(plan, image, target, request);
  execute(plan, image, target.sink(), request.threads, context.progress);
  target.commit();
}

}  // namespace

GuestMachine convert(const ConvertRequest& request, const ConvertContext& context) {
  const OutputFormat& writer = choose_output_format(context.writers, request.to, request.output);
  check_output(request.input, request.output, request.force, true);

  const Input input = Input::open(request.input, request.read.salvage, context.diagnostics);
  const std::string& name = input.source()->name();
  const Format& format = choose_format(context.formats, request.from, *input.source());
  context.diagnostics.decision(name, "input format " + std::string(format.name));
  GuestImage image = read_image(format, input, request.read, context.diagnostics);
  for (const auto& source : image.sources)  // a reader may have found more than one file
    check_output(source->name(), request.output, request.force, true);
  if (image.runs.empty())
    throw Error(ErrorKind::corrupt, name, std::nullopt, "holds no guest memory");

  KernelOptions kernel = request.kernel;
  if (!writer.tells_of_kernel) kernel.scan = std::min(kernel.scan, Scan::image);
  find_kernel(image, kernel, context.diagnostics);

  const OutputPlan plan = writer.plan(image, request.write);
  context.diagnostics.decision(
      output_name(request.output),
      "output format " + std::string(writer.name) + ", " + human_size(plan.size));
  write_output(plan, image, request, context);
  return {image.arch, image.byte_order};
}

}  // namespace vmconvert
