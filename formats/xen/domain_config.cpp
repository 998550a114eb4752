#include "xen/domain_config.h"

#include <array>
#include <cctype>
#include <limits>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "vmconvert/base/text.h"

namespace vmconvert::xen {
namespace {

using nlohmann::json;

void add(DomainConfig& config, std::string key, std::string value) {
  if (!value.empty()) config.facts.push_back({std::move(key), std::move(value)});
}

/// A member as text: as it is, or a number in decimal.
std::string member(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  return found->is_number_unsigned() ? std::to_string(found->get<std::uint64_t>()) : "";
}

std::string kibibytes(const std::string& number) { return number.empty() ? "" : number + " KiB"; }

/// Truth: Xen 4.17, tools/libs/light/libxl_types.idl, libxl_domain_config.
DomainConfig read_json(std::string_view text) {
  DomainConfig config;
  if (!is_shallow_json(text)) return config;
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return config;
  if (const auto info = root.find("c_info"); info != root.end() && info->is_object()) {
    add(config, "domain.name", member(*info, "name"));
    add(config, "domain.uuid", member(*info, "uuid"));
    config.type = member(*info, "type");
  }
  if (const auto info = root.find("b_info"); info != root.end() && info->is_object()) {
    add(config, "domain.vcpus", member(*info, "max_vcpus"));
    add(config, "domain.memory", kibibytes(member(*info, "target_memkb")));
    add(config, "domain.memory-max", kibibytes(member(*info, "max_memkb")));
    add(config, "domain.kernel", member(*info, "kernel"));
    add(config, "domain.cmdline", member(*info, "cmdline"));
  }
  return config;
}

constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

struct Wanted {
  std::string_view key, fact;
};

/// Lines of KEY = VALUE; docs/man/xl.cfg.5.
DomainConfig read_xl(std::string_view text) {
  constexpr std::array<Wanted, 6> kWanted{{{"name", "domain.name"},
                                           {"uuid", "domain.uuid"},
                                           {"vcpus", "domain.vcpus"},
                                           {"memory", "domain.memory"},
                                           {"kernel", "domain.kernel"},
                                           {"cmdline", "domain.cmdline"}}};
  DomainConfig config;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = trimmed(line.substr(0, equals));
    std::string_view value = trimmed(line.substr(equals + 1));
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
        value.back() == value.front()) {
      value = value.substr(1, value.size() - 2);
    }
    if (key == "type" || key == "builder") config.type = value == "generic" ? "pv" : value;
    for (const Wanted& one : kWanted) {
      if (key != one.key) continue;
      const bool mebibytes = key == "memory";
      add(config, std::string(one.fact), std::string(value) + (mebibytes ? " MiB" : ""));
    }
  }
  return config;
}

/// "(domain (domid 3) (uuid ...) (vcpus 1) (memory 96) (name guest) (image (linux (kernel ...))))".
DomainConfig read_xend(std::string_view text) {
  constexpr std::array<Wanted, 6> kWanted{{{"(name ", "domain.name"},
                                           {"(uuid ", "domain.uuid"},
                                           {"(vcpus ", "domain.vcpus"},
                                           {"(memory ", "domain.memory"},
                                           {"(kernel ", "domain.kernel"},
                                           {"(args ", "domain.cmdline"}}};
  DomainConfig config;
  for (const Wanted& one : kWanted) {
    const auto at = text.find(one.key);
    if (at == std::string_view::npos) continue;
    std::string_view value = text.substr(at + one.key.size());
    value = trimmed(value.substr(0, value.find(')')));
    if (value.size() >= 2 && value.front() == '\'' && value.back() == '\'')
      value = value.substr(1, value.size() - 2);
    add(config, std::string(one.fact), std::string(value) + (one.key == "(memory " ? " MiB" : ""));
  }
  if (text.find("(image (hvm") != std::string_view::npos) config.type = "hvm";
  if (text.find("(image (linux") != std::string_view::npos) config.type = "pv";
  return config;
}

DomainConfig read_libvirt(std::string_view text) {
  DomainConfig config;
  pugi::xml_document document;
  if (!document.load_buffer(text.data(), text.size())) return config;
  const pugi::xml_node domain = document.child("domain");
  add(config, "domain.name", domain.child_value("name"));
  add(config, "domain.uuid", domain.child_value("uuid"));
  add(config, "domain.vcpus", domain.child_value("vcpu"));
  const pugi::xml_node memory = domain.child("currentMemory");
  const std::string unit = memory.attribute("unit").as_string("KiB");
  if (const std::string amount = memory.child_value(); !amount.empty())
    add(config, "domain.memory", amount + " " + unit);
  const std::string_view type = domain.child("os").child_value("type");
  config.type = type == "xen" || type == "linux" ? "pv"
                : type == "xenpvh"               ? "pvh"
                                                 : std::string(type);
  return config;
}

}  // namespace

DomainConfig read_domain_config(std::string_view text, SaveContainer::Config kind) {
  DomainConfig config;
  switch (kind) {
    case SaveContainer::Config::json:
      config = read_json(text);
      break;
    case SaveContainer::Config::xl:
      config = read_xl(text);
      break;
    case SaveContainer::Config::xend:
      config = read_xend(text);
      break;
    case SaveContainer::Config::libvirt:
      config = read_libvirt(text);
      break;
  }
  if (config.type != "pv" && config.type != "pvh" && config.type != "hvm") config.type.clear();
  add(config, "domain.type", config.type);
  return config;
}

}  // namespace vmconvert::xen
