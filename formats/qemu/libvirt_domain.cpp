#include "qemu/libvirt_domain.h"

#include <charconv>
#include <pugixml.hpp>
#include <string>

#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

/// "0x100000000" or nothing.
std::optional<std::uint64_t> hex_attribute(const pugi::xml_node& node, const char* name) {
  const std::string_view text = node.attribute(name).value();
  std::uint64_t value = 0;
  if (!text.starts_with("0x") ||
      std::from_chars(text.data() + 2, text.data() + text.size(), value, 16).ec != std::errc{}) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

void add_domain_facts(std::string_view xml, std::string_view file, ReadOptions& options,
                      Diagnostics& diagnostics) {
  pugi::xml_document document;
  if (const auto result = document.load_buffer(xml.data(), xml.size()); !result) {
    diagnostics.warn(file, std::string("the domain XML does not parse: ") + result.description());
    return;
  }
  // A save image holds a <domain>; a cookie-less old one may wrap it.
  const pugi::xml_node domain = document.find_node(
      [](const pugi::xml_node& node) { return std::string_view(node.name()) == "domain"; });
  diagnostics.decision(file, "libvirt domain " + quoted(domain.child_value("name")));
  // libvirt calls the backend of memory device ALIAS "memALIAS". A save image holds only aliases
  // that the user chose; the others are the model and the slot (qemuAssignDeviceMemoryAlias()).
  for (const pugi::xml_node memory : domain.child("devices").children("memory")) {
    const std::string model = memory.attribute("model").value();
    if (model != "dimm" && model != "nvdimm") continue;
    std::string alias = memory.child("alias").attribute("name").value();
    if (alias.empty()) alias = model + memory.child("address").attribute("slot").as_string("0");
    if (const auto base = hex_attribute(memory.child("address"), "base")) {
      options.block_hints.emplace("mem" + alias, GuestPhysAddr{*base});
    }
  }
}

}  // namespace vmconvert::qemu
