#include "qemu/screen.h"

#include <set>
#include <string>
#include <string_view>

#include "qemu/screen_devices.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

struct Display {
  const DeviceSection* section = nullptr;
  const DisplayKind* kind = nullptr;
};

using Names = std::set<std::string_view>;

/// A part of another display: a virtio GPU with a VGA, the VGA of VMware's.
bool is_part(const DeviceSection& section, const Names& all, bool has_vmware) {
  if (section.idstr.ends_with("/virtio-gpu")) {
    return all.contains(section.idstr.substr(0, section.idstr.rfind('/') + 1) + "virtio-vga");
  }
  return section.idstr == "vga" && has_vmware;
}

/// The primary display first: QEMU makes the PC's VGA its first console.
std::vector<Display> find_displays(const QevmStream& stream) {
  Names names;
  for (const DeviceSection& section : stream.sections) names.insert(section.idstr);
  const bool has_vmware = stream.find_section("vmware_vga") != nullptr;
  std::vector<Display> displays;
  for (const DeviceSection& section : stream.sections) {
    const DisplayKind* kind = find_display_kind(section.idstr);
    if (kind == nullptr || !section.sized || is_part(section, names, has_vmware)) continue;
    const bool first = displays.empty() || (kind->is_vga && !displays.front().kind->is_vga);
    displays.insert(first ? displays.begin() : displays.end(), {&section, kind});
  }
  return displays;
}

}  // namespace

std::optional<Screen> read_screen(const QevmStream& stream, std::span<const RunList> blocks,
                                  const GuestImage& image, Diagnostics::Level absence,
                                  Diagnostics& diagnostics) {
  const ByteSource& source = *image.sources.front();
  const auto refuse = [&](std::string_view why) {
    diagnostics.report(absence, source.name(), std::nullopt, "no screen: " + std::string(why));
    return std::nullopt;
  };
  const auto displays = find_displays(stream);
  if (displays.empty()) return refuse("the stream has no display device that is known");
  for (std::size_t i = 1; i < displays.size(); ++i) {
    diagnostics.decision(source.name(), "there is another display, " +
                                            printable(displays[i].section->idstr) +
                                            ", which is not looked at");
  }
  const DeviceSection* section = displays.front().section;
  const auto refuse_display = [&](std::string_view why) {
    return refuse(printable(section->idstr) + ": " + std::string(why));
  };
  const auto fields = DeviceFields::read(stream, source);
  const DeviceField* root = fields ? fields->find(section->idstr, section->instance_id) : nullptr;
  if (root == nullptr)
    return refuse_display("needs the device description, which this stream lacks");
  try {
    Drawn drawn = displays.front().kind->draw({stream, blocks, image, *fields, *section,
                                               DeviceState(source, *section, *root), diagnostics});
    const std::string origin = drawn.mode + " of " + printable(section->idstr);
    diagnostics.decision(source.name(), "screen: " + std::to_string(drawn.canvas.width()) + "x" +
                                            std::to_string(drawn.canvas.height()) + " pixels, " +
                                            origin);
    return std::move(drawn.canvas).finish(origin);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::io) throw;
    return refuse_display(error.what());
  }
}

}  // namespace vmconvert::qemu
