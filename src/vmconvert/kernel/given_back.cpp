#include "vmconvert/kernel/given_back.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace vmconvert {
namespace {

std::optional<std::uint64_t> find(const SymbolValues& symbols, std::string_view name) {
  const auto found = symbols.find(name);
  return found == symbols.end() ? std::nullopt : std::optional(found->second);
}

/// The whole pages of it; nothing if there are none.
std::optional<VirtualRange> whole_pages(std::uint64_t begin, std::uint64_t end,
                                        std::uint64_t page) {
  if (begin > UINT64_MAX - page) return std::nullopt;
  begin = align_up(begin, page);
  end = end / page * page;
  if (begin >= end) return std::nullopt;
  return VirtualRange::between({begin}, {end});
}

/// The values of all lines "SYMBOL(...)=" of VMCOREINFO.
std::vector<std::uint64_t> variables_of(const Vmcoreinfo& info) {
  constexpr std::string_view kKey = "SYMBOL(";
  std::vector<std::uint64_t> values;
  std::string_view rest(info.text);
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const std::size_t equals = line.find('=');
    std::uint64_t value = 0;
    if (line.starts_with(kKey) && equals != std::string_view::npos &&
        std::from_chars(line.data() + equals + 1, line.data() + line.size(), value, 16).ec ==
            std::errc{})
      values.push_back(value);
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  return values;
}

VirtualRange in_kernel(const KernelMapping& part) {
  return VirtualRange::sized(part.at, part.guest.size());
}

bool holds_variable(VirtualRange range, const std::vector<std::uint64_t>& variables) {
  return std::any_of(variables.begin(), variables.end(),
                     [&](std::uint64_t at) { return range.contains(GuestVirtAddr{at}); });
}

/// @returns how many bytes that were
std::uint64_t take_out(VirtualRange range, std::vector<KernelMapping>& image) {
  std::vector<KernelMapping> rest;
  std::uint64_t taken = 0;
  const auto keep = [&](const KernelMapping& part, std::uint64_t from, std::uint64_t size) {
    if (size != 0)
      rest.push_back({GuestRange::sized(part.guest.begin() + from, size), part.at + from});
  };
  for (const KernelMapping& part : image) {
    const VirtualRange out = in_kernel(part).intersection(range);
    if (out.empty()) {
      rest.push_back(part);
      continue;
    }
    taken += out.size();
    keep(part, 0, out.begin() - part.at);
    keep(part, out.end() - part.at, in_kernel(part).end() - out.end());
  }
  image = std::move(rest);
  return taken;
}

}  // namespace

std::vector<std::string_view> symbols_of(const GivenBack& given_back) {
  std::vector<std::string_view> names;
  for (const GivenBack::Between& range : given_back.ranges) {
    names.push_back(range.begin);
    names.push_back(range.end);
  }
  if (!given_back.end_variable.empty()) names.push_back(given_back.end_variable);
  return names;
}

std::uint64_t take_out(const GivenBack& given_back, const SymbolValues& symbols,
                       const PageTables& tables, const Vmcoreinfo& info, KernelFacts& facts) {
  if (facts.image.empty() || !facts.page_offset || tables.mode().linear) return 0;
  const auto image =
      VirtualRange::between(facts.image.front().at, in_kernel(facts.image.back()).end());
  const std::uint64_t page = std::uint64_t{1} << tables.mode().levels.back().shift;
  const std::vector<std::uint64_t> variables = variables_of(info);
  std::uint64_t taken = 0;
  const auto consider = [&](std::uint64_t begin, std::uint64_t end) {
    const auto range = whole_pages(begin, end, page);
    if (!range || !image.contains(*range) || holds_variable(*range, variables)) return;
    taken += take_out(*range, facts.image);
  };
  for (const GivenBack::Between& range : given_back.ranges) {
    const auto begin = find(symbols, range.begin), end = find(symbols, range.end);
    if (begin && end) consider(*begin, *end);
  }
  if (const auto variable = find(symbols, given_back.end_variable)) {
    if (const auto end = tables.read_pointer({*variable})) consider(*end, image.end().value);
  }
  return taken;
}

}  // namespace vmconvert
