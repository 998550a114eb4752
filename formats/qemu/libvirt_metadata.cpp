#include "qemu/libvirt_metadata.h"

#include <algorithm>
#include <pugixml.hpp>
#include <string>

namespace vmconvert::qemu {
namespace {

SourceId source_of(const std::shared_ptr<const ByteSource>& file, GuestImage& image) {
  const auto found = std::find(image.sources.begin(), image.sources.end(), file);
  const auto id = static_cast<SourceId>(found - image.sources.begin());
  if (found == image.sources.end()) image.sources.push_back(file);
  return id;
}

void add_domain(std::string_view xml, Metadata& metadata) {
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size())) return;
  const pugi::xml_node domain = document.find_node(
      [](const pugi::xml_node& node) { return std::string_view(node.name()) == "domain"; });
  const auto add = [&](const char* key, std::string value) {
    if (!value.empty()) metadata.facts.push_back({key, std::move(value)});
  };
  add("domain.name", domain.child_value("name"));
  add("domain.uuid", domain.child_value("uuid"));
  add("domain.title", domain.child_value("title"));
  add("domain.description", domain.child_value("description"));
  add("domain.type", domain.attribute("type").value());
  const pugi::xml_node type = domain.child("os").child("type");
  add("domain.machine", type.attribute("machine").value());
  add("domain.arch", type.attribute("arch").value());
  add("domain.vcpus", domain.child_value("vcpu"));
}

}  // namespace

void describe_save(const std::shared_ptr<const ByteSource>& file, const SaveFacts& facts,
                   std::string_view xml, GuestImage& image) {
  Metadata& metadata = image.metadata;
  metadata.facts.push_back({"libvirt.version", std::to_string(facts.version)});
  metadata.facts.push_back({"libvirt.format", std::string(facts.body_format)});
  metadata.facts.push_back({"libvirt.was_running", facts.was_running ? "yes" : "no"});
  metadata.facts.push_back({"libvirt.cookie", facts.cookie ? "yes" : "no"});
  add_domain(xml, metadata);
  const SourceId source = source_of(file, image);
  if (!facts.domain_xml.empty()) {
    image.attachments.push_back({Attachment::Kind::configuration, "domain.xml", "text/xml",
                                 SourceBytes{source, facts.domain_xml}});
  }
  if (facts.cookie) {
    image.attachments.push_back(
        {Attachment::Kind::other, "cookie.xml", "text/xml", SourceBytes{source, *facts.cookie}});
  }
}

}  // namespace vmconvert::qemu
