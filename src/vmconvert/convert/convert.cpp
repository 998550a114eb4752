#include "vmconvert/convert/convert.h"

#include <algorithm>
#include <array>
#include <vector>

#include "vmconvert/base/text.h"
#include "vmconvert/convert/choose_format.h"
#include "vmconvert/convert/output_target.h"
#include "vmconvert/convert/xen_remap_log.h"
#include "vmconvert/io/input.h"
#include "vmconvert/kernel/find_kernel.h"
#include "vmconvert/model/xen_resolve.h"

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
                  const std::string& remap_log, const ConvertContext& context) {
  OutputTarget target(request.output, request.force, request.sparse, context.temporaries);
  check_space(plan, image, target, request);
  execute(plan, image, target.sink(), request.threads, context.progress);
  if (request.remap_log.empty()) {
    target.commit();
    return;
  }
  OutputTarget log(request.remap_log, request.force, false, context.temporaries);
  log.sink().begin(remap_log.size());
  const std::array pieces{ConstBytes(std::as_bytes(std::span(remap_log)))};
  log.sink().write_at({0}, pieces);
  log.finish();
  target.commit();
  log.commit();
}

void check_outputs(const ConvertRequest& request, const OutputFormat& writer) {
  check_output(request.input, request.output, request.force, true);
  if (!request.remap_log.empty()) {
    check_output(request.input, request.remap_log, request.force, false);
    if (is_same_output(request.remap_log, request.output)) {
      throw Error(ErrorKind::usage, output_name(request.output), std::nullopt,
                  "is the output and the log of --remap-log, too");
    }
  }
  if (request.read.xen_layout != XenLayout::machine) return;
  if (!writer.takes_machine_layout) {
    throw Error(ErrorKind::usage, output_name(request.output), std::nullopt,
                "--xen-layout machine is for ELF: format " + std::string(writer.name) +
                    " cannot tell where the guest sees memory that lies by machine frames");
  }
  if (!request.remap_log.empty()) {
    throw Error(ErrorKind::usage, request.remap_log, std::nullopt,
                "--remap-log lists page tables that are translated; those of --xen-layout machine "
                "are not");
  }
}

}  // namespace

GuestMachine convert(const ConvertRequest& request, const ConvertContext& context) {
  const OutputFormat& writer = choose_output_format(context.writers, request.to, request.output);
  check_outputs(request, writer);

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
  const bool found = find_kernel(image, kernel, context.diagnostics).has_value();
  if (!found && image.xen && image.xen->translation) {
    context.diagnostics.warn(name,
                             "page tables of this PV guest were translated, but no Linux kernel is "
                             "reached through them: it runs another system, or they are damaged");
  }

  std::string remap_log;
  if (!request.remap_log.empty()) remap_log = xen_remap_log(name, image);
  if (request.read.xen_layout == XenLayout::machine)
    use_machine_layout(name, image, context.diagnostics);
  const OutputPlan plan = writer.plan(image, request.write);
  context.diagnostics.decision(
      output_name(request.output),
      "output format " + std::string(writer.name) + ", " + human_size(plan.size));
  write_output(plan, image, request, remap_log, context);
  return {image.arch, image.byte_order};
}

}  // namespace vmconvert
