#include "vmconvert/kernel/kallsyms.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "vmconvert/base/packed.h"

namespace vmconvert {
namespace {

constexpr std::size_t kPiece = 4096;
constexpr std::size_t kTokens = 256;
constexpr std::size_t kLongestToken = 512;  // KSYM_NAME_LEN
// Debian's 6.1 has 94,266 symbols, their names take 1.5 MB.
constexpr std::uint32_t kMostSymbols = 1 << 20;
constexpr std::uint32_t kMostNameBytes = 32 << 20;
constexpr std::string_view kReference = "_stext";

/// Guest memory from an address on, byte by byte.
class Stream {
 public:
  /// @param most  bytes that may be read
  Stream(const PageTables& tables, std::uint64_t at, std::uint64_t most)
      : tables_(tables), at_(at), left_(most) {}

  /// Nothing where memory, or what may be read of it, ends.
  std::optional<std::uint8_t> next() {
    if (used_ == piece_.size() && !refill()) return std::nullopt;
    return std::to_integer<std::uint8_t>(piece_[used_++]);
  }

 private:
  bool refill() {
    const std::uint64_t size = std::min<std::uint64_t>(kPiece - at_ % kPiece, left_);
    if (size == 0 || at_ > UINT64_MAX - size) return false;
    piece_.resize(static_cast<std::size_t>(size));
    used_ = 0;
    left_ -= size;
    if (!tables_.read({at_}, piece_)) {
      piece_.clear();
      return false;
    }
    at_ += size;
    return true;
  }

  const PageTables& tables_;
  std::uint64_t at_, left_;
  std::vector<std::byte> piece_;
  std::size_t used_ = 0;
};

/// What each byte of a compressed name stands for.
using Tokens = std::array<std::string, kTokens>;

/// The texts follow each other, each ended by a zero; the index tells where each begins.
std::optional<Tokens> read_tokens(const PageTables& tables, std::uint64_t table,
                                  std::uint64_t index_at) {
  std::array<std::byte, 2 * kTokens> index{};
  if (!tables.read({index_at}, index)) return std::nullopt;
  Stream stream(tables, table, kTokens * (kLongestToken + 1));
  Tokens tokens;
  std::size_t at = 0;
  for (std::size_t i = 0; i < kTokens; ++i) {
    if (load<std::uint16_t>(std::span(index).subspan(2 * i), tables.guest_order()) != at)
      return std::nullopt;
    for (auto byte = stream.next(); byte != 0; byte = stream.next()) {
      if (!byte || tokens[i].size() == kLongestToken) return std::nullopt;
      tokens[i] += static_cast<char>(*byte);
    }
    at += tokens[i].size() + 1;
  }
  return tokens;
}

/// Where in the table a symbol stands; nothing if it stands at several places.
using Places = std::map<std::string, std::optional<std::uint32_t>, std::less<>>;

/// Goes through all names for those that are wanted.
class Names {
 public:
  Names(const PageTables& tables, const Tokens& tokens, std::uint64_t at)
      : tokens_(tokens), stream_(tables, at, kMostNameBytes) {}

  /// @returns nothing if the table ends before it should
  std::optional<Places> find(std::span<const std::string_view> wanted, std::uint32_t count) {
    std::size_t longest = kReference.size();
    for (const std::string_view name : wanted) longest = std::max(longest, name.size());
    Places places;
    std::string symbol;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!read(symbol, longest + 1)) return std::nullopt;
      if (symbol.empty() || symbol.size() > longest + 1) continue;
      const std::string_view name = std::string_view(symbol).substr(1);  // its type comes first
      if (name != kReference && std::find(wanted.begin(), wanted.end(), name) == wanted.end())
        continue;
      const auto [place, is_new] = places.try_emplace(std::string(name), i);
      if (!is_new) place->second.reset();
    }
    return places;
  }

 private:
  /// The next type and name, of which at least `enough` characters if there are as many.
  bool read(std::string& symbol, std::size_t enough) {
    symbol.clear();
    const auto first = stream_.next();
    if (!first) return false;
    unsigned size = *first;
    if ((size & 0x80) != 0) {  // Linux 6.1 and later; before, no name was as long
      const auto second = stream_.next();
      if (!second) return false;
      size = (size & 0x7f) | unsigned{*second} << 7;
    }
    for (; size > 0; --size) {
      const auto token = stream_.next();
      if (!token) return false;
      if (symbol.size() <= enough) symbol += tokens_[*token];
    }
    return true;
  }

  const Tokens& tokens_;
  Stream stream_;
};

/// The ways in which kernels of different configurations tell of addresses.
class Addresses {
 public:
  /// Nothing if VMCOREINFO does not tell where they are.
  static std::optional<Addresses> open(const PageTables& tables, const Vmcoreinfo& info) {
    const auto offsets = info.symbol("kallsyms_offsets"),
               base_at = info.symbol("kallsyms_relative_base"),
               whole = info.symbol("kallsyms_addresses");
    if (offsets && base_at) {
      const auto base = tables.read_pointer({*base_at});
      if (base) return Addresses(tables, *offsets, base);
    } else if (whole) {
      return Addresses(tables, *whole, std::nullopt);
    }
    return std::nullopt;
  }

  /// Chooses the way in which symbol `index` is at `address`. @returns false if there is none
  bool settle(std::uint32_t index, std::uint64_t address) {
    for (const bool absolute_percpu : {false, true}) {
      absolute_percpu_ = absolute_percpu;
      if (of(index) == address) return true;
    }
    return false;
  }

  std::optional<std::uint64_t> of(std::uint32_t index) const {
    if (!base_) return tables_.read_pointer({at_ + std::uint64_t{index} * tables_.pointer_size()});
    std::array<std::byte, 4> bytes{};
    if (!tables_.read({at_ + std::uint64_t{index} * bytes.size()}, bytes)) return std::nullopt;
    const auto offset = load<std::uint32_t>(bytes, tables_.guest_order());
    if (!absolute_percpu_) return *base_ + offset;
    // CONFIG_KALLSYMS_ABSOLUTE_PERCPU: -1 - offset, for what is not an absolute value.
    return offset <= INT32_MAX ? offset : *base_ + ~offset;
  }

 private:
  Addresses(const PageTables& tables, std::uint64_t at, std::optional<std::uint64_t> base)
      : tables_(tables), at_(at), base_(base) {}

  const PageTables& tables_;
  std::uint64_t at_;
  std::optional<std::uint64_t> base_;  ///< nothing: addresses are told as they are
  bool absolute_percpu_ = false;
};

}  // namespace

SymbolValues read_kallsyms(const PageTables& tables, const Vmcoreinfo& info,
                           std::span<const std::string_view> names) {
  const auto text = info.symbol(kReference), names_at = info.symbol("kallsyms_names"),
             count_at = info.symbol("kallsyms_num_syms"),
             table_at = info.symbol("kallsyms_token_table"),
             index_at = info.symbol("kallsyms_token_index");
  if (!text || !names_at || !count_at || !table_at || !index_at) return {};
  std::array<std::byte, 4> count_bytes{};
  auto addresses = Addresses::open(tables, info);
  if (!addresses || !tables.read({*count_at}, count_bytes)) return {};
  const auto count = load<std::uint32_t>(count_bytes, tables.guest_order());
  if (count > kMostSymbols) return {};
  const auto tokens = read_tokens(tables, *table_at, *index_at);
  if (!tokens) return {};
  const auto places = Names(tables, *tokens, *names_at).find(names, count);
  if (!places) return {};
  const auto reference = places->find(kReference);
  if (reference == places->end() || !reference->second ||
      !addresses->settle(*reference->second, *text))
    return {};
  SymbolValues values;
  for (const auto& [name, place] : *places) {
    const auto value = place ? addresses->of(*place) : std::nullopt;
    if (value) values.emplace(name, *value);
  }
  return values;
}

}  // namespace vmconvert
