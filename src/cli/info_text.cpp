#include <algorithm>

#include "info_page.h"
#include "info_records.h"
#include "info_report.h"
#include "vmconvert/base/text.h"
#include "vmconvert/convert/attachments.h"

namespace vmconvert::cli {
namespace {

constexpr std::size_t kMostRanges = 8;  ///< a virtio-mem device can have ten thousands

std::string range_text(GuestRange range) {
  return hex(range.begin().value) + "-" + hex(range.end().value);
}

void show_addresses(const KernelFacts& kernel, Page& page) {
  const auto show = [&](std::string_view label, const std::string& value,
                        const std::string& origin) {
    page.row(label, value + " (" + printable(origin) + ")");
  };
  if (const auto& root = kernel.page_tables)
    show("Page tables", hex(root->value.value), root->origin);
  if (const auto& base = kernel.phys_base) show("phys_base", signed_hex(base->value), base->origin);
  if (const auto& offset = kernel.kaslr_offset) show("KASLR", hex(offset->value), offset->origin);
  if (const auto& map = kernel.page_offset) show("Direct map", hex(map->value), map->origin);
}

void show_kernel(const GuestImage& image, Page& page) {
  if (!image.kernel.banner.empty()) page.row("Banner", printable(image.kernel.banner));
  show_addresses(image.kernel, page);
  if (!image.vmcoreinfo) return;
  const auto show = [&](std::string_view label, std::string_view key) {
    const auto value = image.vmcoreinfo->value(key);
    if (value && !value->empty()) page.row(label, printable(*value));
  };
  show("Kernel", "OSRELEASE");
  show("Build ID", "BUILD-ID");
  if (const std::string date = crash_date(*image.vmcoreinfo); !date.empty())
    page.row("Crashed", date);
  page.row("VMCOREINFO", "from " + printable(image.vmcoreinfo->origin));
}

void show_guest(const GuestImage& image, Page& page) {
  if (!image.metadata.machine.empty()) page.row("Machine", printable(image.metadata.machine));
  page.row("Architecture",
           std::string(arch_name(image.arch)) +
               (image.byte_order == std::endian::little ? ", little-endian" : ", big-endian"));
  const auto extents = image.runs.extents();
  page.row("Memory", human_size(image.runs.total_bytes()) + " in " +
                         counted(image.runs.runs().size(), "run") + " and " +
                         counted(extents.size(), "extent") + ", pages of " +
                         human_size(image.runs.page_size()));
  // A dump may hold notes of vCPUs and no registers as we know them: facts tell of those.
  if (!image.vcpus.empty()) page.row("vCPUs", std::to_string(image.vcpus.size()));
  show_kernel(image, page);
}

void show_facts(const Metadata& metadata, Page& page) {
  if (metadata.facts.empty()) return;
  page.heading("Facts");
  const auto label = [](const Fact& fact) { return "  " + printable(fact.key); };
  const std::size_t columns = column(metadata.facts, label, 30) + 2;
  for (const Fact& fact : metadata.facts) page.row(label(fact), printable(fact.value), columns);
}

std::vector<std::string> range_lines(const std::vector<GuestRange>& ranges) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < std::min(ranges.size(), kMostRanges); ++i)
    lines.push_back(range_text(ranges[i]));
  if (ranges.size() > kMostRanges)
    lines.push_back("and " + counted(ranges.size() - kMostRanges, "more range"));
  return lines;
}

void show_blocks(const Metadata& metadata, Page& page) {
  if (metadata.blocks.empty()) return;
  page.heading("Memory blocks, and where the guest sees them (-: nowhere, or not known)");
  const auto label = [](const MemoryBlock& block) { return "  " + printable(block.name); };
  constexpr std::size_t kSizeColumns = 12;
  const std::size_t columns = column(metadata.blocks, label, 32);
  for (const MemoryBlock& block : metadata.blocks) {
    std::vector<std::string> lines = range_lines(block.guest);
    if (lines.empty()) lines.push_back("-");
    std::string name = label(block);
    if (width(name) > columns) {
      page.row(name, "", width(name));
      name.clear();
    }
    page.row(padded(name, columns) + right(human_size(block.size), kSizeColumns) + "  ", lines[0],
             columns + kSizeColumns + 2);
    for (std::size_t i = 1; i < lines.size(); ++i)
      page.row("", lines[i], columns + kSizeColumns + 2);
  }
}

void show_vcpus(const GuestImage& image, Page& page) {
  if (image.vcpus.empty()) return;
  page.heading("vCPUs");
  constexpr std::size_t kInLine = 2;
  const std::size_t number_columns = std::to_string(image.vcpus.size() - 1).size() + 2;
  for (std::size_t i = 0; i < image.vcpus.size(); ++i) {
    const std::vector<NamedRegister> registers = key_registers(image.vcpus[i]);
    const auto name = [](const NamedRegister& one) { return one.name; };
    const std::size_t columns = column(registers, name, 12);
    for (std::size_t k = 0; k < registers.size(); k += kInLine) {
      std::string line = right(k == 0 ? std::to_string(i) : "", number_columns);
      for (std::size_t j = k; j < std::min(k + kInLine, registers.size()); ++j) {
        line += "  " + padded(registers[j].name, columns) + " " +
                padded(hex(registers[j].value), std::string_view("0x0123456789abcdef").size());
      }
      page.row(line, "", width(line));
    }
  }
}

void show_devices(const Metadata& metadata, Page& page) {
  if (metadata.devices.empty()) return;
  page.heading("Device state");
  const auto label = [](const DeviceRecord& device) { return "  " + printable(device.name); };
  const std::size_t columns = column(metadata.devices, label, 44) + 1;
  for (const DeviceRecord& device : metadata.devices) {
    page.row(label(device),
             "instance " + std::to_string(device.instance) + ", version " +
                 std::to_string(device.version) +
                 (device.size == 0 ? "" : ", " + counted(device.size, "byte")),
             columns);
  }
}

void show_attachments(const GuestImage& image, Page& page) {
  if (image.attachments.empty()) return;
  page.heading("Embedded (vmconvert extract --list)");
  const auto label = [](const Attachment& item) { return "  " + printable(item.name); };
  const std::size_t columns = column(image.attachments, label, 32) + 2;
  for (const Attachment& item : image.attachments) {
    page.row(label(item),
             human_size(attachment_size(item)) + ", " + std::string(kind_name(item.kind)), columns);
  }
}

void show_snapshots(const std::vector<Snapshot>& snapshots, Page& page) {
  page.heading("Saved states");
  if (snapshots.empty()) page.row("  none", "");
  for (const Snapshot& snapshot : snapshots) {
    const std::string date = utc_date(snapshot.date);
    page.row("  " + printable(snapshot.id), printable(snapshot.name));
    constexpr std::uint64_t kSecond = 1000000000;
    page.row("", (date.empty() ? "no date" : date) + ", guest ran " +
                     counted(snapshot.vm_clock / kSecond, "second") + ", " +
                     (snapshot.state_size == 0 ? "disk only, no memory"
                                               : human_size(snapshot.state_size) + " of state"));
  }
}

void show_messages(std::string_view title, const std::vector<std::string>& messages, Page& page) {
  if (messages.empty()) return;
  page.heading(title);
  for (const std::string& message : messages) page.row("  -", printable(message), 4);
}

}  // namespace

std::string info_text(const InfoReport& report) {
  Page page;
  page.row("File", printable(report.file));
  page.row("Size", human_size(report.size));
  page.row("Format", report.format + ": " + report.format_summary);
  if (report.image) show_guest(*report.image, page);
  if (report.snapshots) show_snapshots(*report.snapshots, page);
  if (report.image) {
    show_facts(report.image->metadata, page);
    show_blocks(report.image->metadata, page);
    show_vcpus(*report.image, page);
    show_devices(report.image->metadata, page);
    show_attachments(*report.image, page);
    show_records(*report.image, report.hexdump, page);
  }
  show_messages("Lost", report.losses, page);
  show_messages("Warnings", report.warnings, page);
  return page.take();
}

}  // namespace vmconvert::cli
