#include <map>
#include <nlohmann/json.hpp>

#include "info_records.h"
#include "info_report.h"
#include "vmconvert/base/text.h"
#include "vmconvert/convert/attachments.h"

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

template <class T, class Show>
json derived(const std::optional<Derived<T>>& fact, const Show& show) {
  if (!fact) return {};
  return {{"value", show(fact->value)}, {"origin", text(fact->origin)}};
}

json kernel(const GuestImage& image) {
  const KernelFacts& facts = image.kernel;
  if (!image.vmcoreinfo && facts.banner.empty()) return {};
  const Vmcoreinfo info = image.vmcoreinfo.value_or(Vmcoreinfo{});
  const auto value = [&](std::string_view key) { return info.value(key).value_or(""); };
  const auto gva = [](std::uint64_t at) { return hex(at); };
  return {
      {"release", text_or_null(image.vmcoreinfo ? value("OSRELEASE") : facts.release)},
      {"build_id", text_or_null(value("BUILD-ID"))},
      {"crash_time", text_or_null(crash_date(info))},
      {"origin", text_or_null(info.origin)},
      {"banner", text_or_null(facts.banner)},
      {"page_tables", derived(facts.page_tables, [](GuestPhysAddr at) { return hex(at.value); })},
      {"phys_base", derived(facts.phys_base, signed_hex)},
      {"kaslr_offset", derived(facts.kaslr_offset, gva)},
      {"direct_map", derived(facts.page_offset, gva)}};
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

json guest(const GuestImage& image, bool hexdump) {
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
          {"attachments", attachments(image)},
          {"records", records_json(image, hexdump)}};
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
                  {"guest", report.image ? guest(*report.image, report.hexdump) : json()}};
  constexpr int kIndent = 2;
  constexpr bool kAscii = true;  // so that a terminal does not act on what a file holds
  return root.dump(kIndent, ' ', kAscii) + "\n";
}

}  // namespace vmconvert::cli
