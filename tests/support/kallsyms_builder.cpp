#include "support/kallsyms_builder.h"

#include <cstdio>

namespace vmconvert::test {
namespace {

std::string as_text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Token 1 stands for "__" and token 2 for "init"; every printable character for itself.
std::string token(unsigned number) {
  if (number == 1) return "__";
  if (number == 2) return "init";
  if (number < 0x20 || number > 0x7e) return "";
  return {static_cast<char>(number)};
}

std::string compressed(const std::string& symbol) {
  std::string result;
  for (std::size_t i = 0; i < symbol.size();) {
    const unsigned number = symbol.compare(i, 2, "__") == 0     ? 1U
                            : symbol.compare(i, 4, "init") == 0 ? 2U
                                                                : 0U;
    result += number == 0 ? symbol[i] : static_cast<char>(number);
    i += number == 0 ? 1 : token(number).size();
  }
  const std::size_t size = result.size();
  if (size < 128) return static_cast<char>(size) + result;
  return std::string{static_cast<char>(size % 128 + 128), static_cast<char>(size / 128)} + result;
}

std::string line(const char* name, std::uint64_t value) {
  char text[100];
  std::snprintf(text, sizeof text, "SYMBOL(%s)=%llx\n", name,
                static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

std::string put_kallsyms(KernelMemory& memory, const KernelMemory::Layout& layout,
                         const Kallsyms& kallsyms) {
  const std::uint64_t base = layout.image_gva;
  ByteWriter addresses, index, count;
  std::string names, tokens;
  for (const auto& [symbol, value] : kallsyms.symbols) {
    names += compressed(symbol);
    if (kallsyms.form == KallsymsForm::whole)
      addresses.le64(value);
    else if (kallsyms.form == KallsymsForm::relative)
      addresses.le32(static_cast<std::uint32_t>(value - base));
    else
      addresses.le32(value < 0x80000000 ? static_cast<std::uint32_t>(value)
                                        : static_cast<std::uint32_t>(base - value - 1));
  }
  for (unsigned number = 0; number < 256; ++number) {
    index.le16(static_cast<std::uint16_t>(tokens.size()));
    tokens += token(number) + '\0';
  }
  count.le32(static_cast<std::uint32_t>(kallsyms.symbols.size()));
  const auto put = [&](std::uint64_t at, const std::string& bytes) {
    memory.put(layout.image_gpa + at, bytes);
  };
  using Places = KallsymsPlaces;
  put(Places::kAddresses, as_text(addresses.bytes()));
  memory.put_u64(layout.image_gpa + Places::kBase, base);
  put(Places::kCount, as_text(count.bytes()));
  put(Places::kNames, names);
  put(Places::kTokens, tokens);
  put(Places::kIndex, as_text(index.bytes()));
  std::string lines = line("kallsyms_names", base + Places::kNames) +
                      line("kallsyms_num_syms", base + Places::kCount) +
                      line("kallsyms_token_table", base + Places::kTokens) +
                      line("kallsyms_token_index", base + Places::kIndex);
  if (kallsyms.form == KallsymsForm::whole)
    return lines + line("kallsyms_addresses", base + Places::kAddresses);
  return lines + line("kallsyms_offsets", base + Places::kAddresses) +
         line("kallsyms_relative_base", base + Places::kBase);
}

}  // namespace vmconvert::test
