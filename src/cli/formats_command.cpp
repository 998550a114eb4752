#include <array>
#include <cstdio>
#include <string>

#include "all_formats.h"
#include "all_writers.h"
#include "commands.h"
#include "vmconvert/io/decompress.h"

namespace vmconvert::cli {
namespace {

void print_row(std::string_view name, std::string_view summary) {
  std::printf("  %-14.*s %.*s\n", static_cast<int>(name.size()), name.data(),
              static_cast<int>(summary.size()), summary.data());
}

}  // namespace

int run_formats() {
  std::puts("Input formats (told by content, or --from NAME):");
  for (const Format& format : all_formats()) print_row(format.name, format.summary);
  std::fputs("  each also compressed with", stdout);
  for (const Codec codec : all_codecs()) std::printf(" %s", std::string(codec_name(codec)).c_str());
  std::puts("\n\nOutput formats (told by the suffix, or --to NAME):");
  for (const OutputFormat& format : all_writers()) {
    std::string suffixes;
    for (const std::string_view suffix : format.suffixes) suffixes += " " + std::string(suffix);
    print_row(format.name, format.summary);
    print_row("", suffixes.substr(1));
  }
  return kDone;
}

}  // namespace vmconvert::cli
