#include "vmconvert/convert/choose_format.h"

#include <algorithm>
#include <string>
#include <vector>

#include "vmconvert/base/text.h"
#include "vmconvert/model/xen_search.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kProbeBytes = 64 * 1024;

std::string join(const std::vector<std::string_view>& names, std::string_view separator) {
  std::string text;
  for (const std::string_view name : names) {
    if (!text.empty()) text += separator;
    text += name;
  }
  return text;
}

template <class T>
std::vector<std::string_view> names_of(std::span<const T> formats) {
  std::vector<std::string_view> names;
  for (const T& format : formats) names.push_back(format.name);
  return names;
}

template <class T>
const T& by_name(std::span<const T> formats, std::string_view name, std::string_view kind) {
  const auto found = std::find_if(formats.begin(), formats.end(),
                                  [&](const T& format) { return format.name == name; });
  if (found == formats.end()) {
    throw Error(ErrorKind::usage, "", std::nullopt,
                "unknown " + std::string(kind) + " format " + quoted(name) +
                    " (there are: " + join(names_of(formats), ", ") + ")");
  }
  return *found;
}

std::string lower_suffix(std::string_view name) {
  const auto slash = name.rfind('/');
  if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos) return "";
  std::string suffix(name.substr(dot));
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  });
  return suffix;
}

}  // namespace

const Format& choose_format(std::span<const Format> formats, std::string_view wanted,
                            const ByteSource& input) {
  if (!wanted.empty()) return by_name(formats, wanted, "input");
  if (input.size() == 0) {
    throw Error(ErrorKind::unsupported, input.name(), std::nullopt, "is empty");
  }
  std::vector<std::byte> head(static_cast<std::size_t>(std::min(input.size(), kProbeBytes)));
  input.read_at({0}, head);
  const ProbeWindow window{head, input.size(), input.name()};
  for (const Match level : {Match::yes, Match::maybe}) {
    std::vector<const Format*> matches;
    for (const Format& format : formats) {
      if (format.probe != nullptr && format.probe(window) == level) matches.push_back(&format);
    }
    if (matches.size() == 1) return *matches.front();
    if (matches.size() > 1) {
      std::vector<std::string_view> names;
      for (const Format* format : matches) names.push_back(format->name);
      throw Error(ErrorKind::unsupported, input.name(), std::nullopt,
                  "could be " + join(names, " or ") + "; choose one with --from");
    }
  }
  std::vector<std::string_view> tried, never_told;
  for (const Format& format : formats) {
    (format.probe != nullptr ? tried : never_told).push_back(format.name);
  }
  const std::string ask =
      never_told.empty() ? "" : "; what cannot be told by content: --from " + join(never_told, "|");
  throw Error(ErrorKind::unsupported, input.name(), std::nullopt,
              "is in none of the known formats (tried: " + join(tried, ", ") + ask + ")");
}

GuestImage read_image(const Format& format, const Input& input, const ReadOptions& options,
                      Diagnostics& diagnostics) {
  if (!options.snapshot.empty() && format.snapshots == nullptr) {
    throw Error(
        ErrorKind::usage, input.source()->name(), std::nullopt,
        "--snapshot makes no sense for " + std::string(format.name) + ", which holds one state");
  }
  const auto refuse = [&](const std::string& option) {
    throw Error(ErrorKind::usage, input.source()->name(), std::nullopt,
                option + " makes no sense for " + std::string(format.name));
  };
  if (!options.memory_file.empty() && !format.takes_memory_file) refuse("--memory");
  if (!options.state_file.empty() && !format.takes_state_file) refuse("--state");
  if (options.records && !format.has_records) refuse("--tags or --hexdump");
  GuestImage image = format.read(input, options, diagnostics);
  // Registers would tell of Xen, and so do its own formats.
  if ((image.arch == Arch::x86_64 || image.arch == Arch::i386) && image.vcpus.empty() &&
      !image.xen && options.xen_layout != XenLayout::asis)
    resolve_found_xen(input.source()->name(), options.xen_layout, image, diagnostics);
  return image;
}

const OutputFormat& choose_output_format(std::span<const OutputFormat> formats,
                                         std::string_view wanted, std::string_view output_name) {
  if (!wanted.empty()) return by_name(formats, wanted, "output");
  const std::string suffix = lower_suffix(output_name);
  std::vector<std::string_view> known;
  for (const OutputFormat& format : formats) {
    for (const std::string_view s : format.suffixes) {
      if (s == suffix) return format;
      known.push_back(s);
    }
  }
  throw Error(ErrorKind::usage, output_name, std::nullopt,
              "the output format cannot be told from this name; give --to " +
                  join(names_of(formats), "|") + " or one of the suffixes " + join(known, " "));
}

}  // namespace vmconvert
