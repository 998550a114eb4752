#include <map>
#include <nlohmann/json.hpp>

#include "info_report.h"
#include "vmconvert/base/text.h"
#include "vmconvert/convert/attachments.h"
#include "vmconvert/model/dump_notes.h"

namespace vmconvert::cli {
namespace {

// Keys appear in the order in which they are set.
using json = nlohmann::ordered_json;

constexpr std::string_view kSchema = "vmconvert-info/1";

/// Text from an input, as JSON can hold it: see utf8().
json text(std::string_view found) { return utf8(found); }
json text_or_null(std::string_view found) { return found.empty() ? json() : text(found); }

json ranges(const std::vector<GuestRange>& ranges) {
  json list = json::array();
  for (const GuestRange range : ranges) {
    list.push_back({{"begin", hex(range.begin().value)}, {"end", hex(range.end().value)}});
  }
  return list;
}

json texts(const std::vector<std::string>& found) {
  json list = json::array();
  for (const std::string& one : found) list.push_back(text(one));
  return list;
}

json facts(const Metadata& metadata) {
  json object = json::object();
  // Sorted first: a lookup in an ordered object takes time in proportion to its size.
  std::map<std::string, std::vector<std::string>> by_key;
  for (const Fact& fact : metadata.facts) by_key[utf8(fact.key)].push_back(fact.value);
  for (const auto& [key, values] : by_key)
    object.get_ref<json::object_t&>().emplace_back(key, texts(values));
  return object;
}

json blocks(const Metadata& metadata) {
  json list = json::array();
  for (const MemoryBlock& block : metadata.blocks) {
    list.push_back(
        {{"name", text(block.name)}, {"size", block.size}, {"guest", ranges(block.guest)}});
  }
  return list;
}

json vcpus(const GuestImage& image) {
  json list = json::array();
  for (const Vcpu& vcpu : image.vcpus) {
    json registers = json::object();
    for (const NamedRegister& one : key_registers(vcpu)) registers[one.name] = hex(one.value);
    list.push_back({{"registers", std::move(registers)}});
  }
  return list;
}

json devices(const Metadata& metadata) {
  json list = json::array();
  for (const DeviceRecord& device : metadata.devices) {
    list.push_back({{"name", text(device.name)},
                    {"instance", device.instance},
                    {"version", device.version},
                    {"size", device.size == 0 ? json() : json(device.size)}});
  }
  return list;
}

json kernel(const GuestImage& image) {
  if (!image.vmcoreinfo) return {};
  const auto value = [&](std::string_view key) {
    return text_or_null(vmcoreinfo_value(image.vmcoreinfo->text, key).value_or(""));
  };
  return {{"release", value("OSRELEASE")},
          {"build_id", value("BUILD-ID")},
          {"crash_time", text_or_null(crash_date(*image.vmcoreinfo))},
          {"origin", text(image.vmcoreinfo->origin)}};
}

json attachments(const GuestImage& image) {
  json list = json::array();
  for (const Attachment& attachment : image.attachments) {
    list.push_back({{"kind", kind_name(attachment.kind)},
                    {"name", text(attachment.name)},
                    {"media_type", text(attachment.media_type)},
                    {"size", attachment_size(attachment)}});
  }
  return list;
}

json snapshots(const InfoReport& report) {
  if (!report.snapshots) return {};
  json list = json::array();
  for (const Snapshot& snapshot : *report.snapshots) {
    list.push_back({{"id", text(snapshot.id)},
                    {"name", text(snapshot.name)},
                    {"date", text_or_null(utc_date(snapshot.date))},
                    {"vm_clock_ns", snapshot.vm_clock},
                    {"state_size", snapshot.state_size}});
  }
  return list;
}

json guest(const GuestImage& image) {
  return {{"machine", text_or_null(image.metadata.machine)},
          {"arch", arch_name(image.arch)},
          {"byte_order", image.byte_order == std::endian::little ? "little" : "big"},
          {"memory",
           {{"size", image.runs.total_bytes()},
            {"page_size", image.runs.page_size()},
            {"runs", image.runs.runs().size()},
            {"extents", ranges(image.runs.extents())}}},
          {"blocks", blocks(image.metadata)},
          {"vcpus", vcpus(image)},
          {"kernel", kernel(image)},
          {"devices", devices(image.metadata)},
          {"facts", facts(image.metadata)},
          {"attachments", attachments(image)}};
}

}  // namespace

std::string info_json(const InfoReport& report) {
  const json root{{"schema", kSchema},
                  {"file", {{"name", text(report.file)}, {"size", report.size}}},
                  {"format", {{"name", report.format}, {"summary", report.format_summary}}},
                  {"complete", report.losses.empty()},
                  {"losses", texts(report.losses)},
                  {"warnings", texts(report.warnings)},
                  {"snapshots", snapshots(report)},
                  {"guest", report.image ? guest(*report.image) : json()}};
  constexpr int kIndent = 2;
  constexpr bool kAscii = true;  // so that a terminal does not act on what a file holds
  return root.dump(kIndent, ' ', kAscii) + "\n";
}

}  // namespace vmconvert::cli
