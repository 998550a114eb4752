#include "qemu/rtc_date.h"

#include <array>
#include <cstdio>

namespace vmconvert::qemu {
namespace {

// Truth: the data sheet of Motorola's MC146818A; the byte of the century is IBM's (QEMU,
// include/hw/rtc/mc146818rtc_regs.h).
constexpr std::size_t kSeconds = 0x00, kMinutes = 0x02, kHours = 0x04, kDay = 0x07, kMonth = 0x08,
                      kYear = 0x09, kStatusB = 0x0b, kCentury = 0x32;
constexpr unsigned kBinary = 0x04, k24Hours = 0x02, kAfternoon = 0x80;

unsigned byte_at(const Cmos& cmos, std::size_t at) { return std::to_integer<unsigned>(cmos[at]); }

/// A value, in BCD unless status B says otherwise; nothing if a digit is none.
std::optional<unsigned> decode(const Cmos& cmos, unsigned value) {
  if ((byte_at(cmos, kStatusB) & kBinary) != 0) return value;
  if ((value & 0xf) > 9 || value >> 4 > 9) return std::nullopt;
  return (value >> 4) * 10 + (value & 0xf);
}

std::optional<unsigned> hours(const Cmos& cmos) {
  const unsigned raw = byte_at(cmos, kHours);
  if ((byte_at(cmos, kStatusB) & k24Hours) != 0) return decode(cmos, raw);
  const auto hour = decode(cmos, raw & ~kAfternoon);
  if (!hour || *hour < 1 || *hour > 12) return std::nullopt;
  return *hour % 12 + ((raw & kAfternoon) != 0 ? 12 : 0);
}

unsigned days_of(unsigned month, unsigned year) {
  static constexpr std::array<unsigned, 12> kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return kDays[month - 1] + (leap && month == 2 ? 1 : 0);
}

}  // namespace

std::optional<std::string> rtc_date(const Cmos& cmos) {
  const auto get = [&](std::size_t at) { return decode(cmos, byte_at(cmos, at)); };
  const auto century = get(kCentury), year = get(kYear), month = get(kMonth), day = get(kDay);
  const auto hour = hours(cmos), minute = get(kMinutes), second = get(kSeconds);
  if (!century || !year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (*century < 19 || *century > 99 || *year > 99 || *month < 1 || *month > 12)
    return std::nullopt;
  const unsigned full_year = *century * 100 + *year;
  if (*day < 1 || *day > days_of(*month, full_year) || *hour > 23 || *minute > 59 || *second > 59)
    return std::nullopt;
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "%04u-%02u-%02uT%02u:%02u:%02u", full_year, *month, *day,
                *hour, *minute, *second);
  return text.data();
}

}  // namespace vmconvert::qemu
