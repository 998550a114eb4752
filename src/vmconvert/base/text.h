#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vmconvert {

/// "0x1f"; "0x0" for zero.
std::string hex(std::uint64_t value);

/// "512 bytes", "4 KiB", "1.5 GiB": the largest binary unit, at most one decimal.
std::string human_size(std::uint64_t bytes);

/// The text as it is if it is printable ASCII or UTF-8 without control characters; otherwise in
/// double quotes with the other bytes as \xNN. For anything that came out of a file.
std::string printable(std::string_view text);

/// Always in double quotes, escaped as printable() does.
std::string quoted(std::string_view text);

/// The text as UTF-8 whatever it is: bytes that are not become "\\xNN", four characters. Control
/// characters stay. For what escapes those itself, like JSON.
std::string utf8(std::string_view text);

/// Bytes of a size such as "3G", "512MiB", "0x80000000" or "4096"; nothing if it is not one.
/// Suffixes K M G T are binary, upper or lower case, with or without "iB" or "B".
std::optional<std::uint64_t> parse_size(std::string_view text);

/// "0x1000", "-0x1000".
std::string signed_hex(std::int64_t value);

/// "2026-11-25T04:30:00Z"; empty for zero and for years beyond 9999.
std::string utc_date(std::uint64_t seconds_since_1970);

/// "1 page", "2 pages".
std::string counted(std::uint64_t n, std::string_view noun);

/// True if the brackets of a JSON text nest no deeper than any that we read. To be asked before the
/// parser is, whose own callback for this takes time quadratic in the number of members.
bool is_shallow_json(std::string_view text);

}  // namespace vmconvert
