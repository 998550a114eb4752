#include "vmware/encryption.h"

#include <string>

#include "vmconvert/base/packed.h"

namespace vmconvert::vmware {
namespace {

// Truth: one tool, checked by its author on files of Workstation 26H1; docs/formats/vmware.md.
//   0 magic, 4 kind, 8 data bytes of a page, 12 bytes of its IV, 16 of its MAC, 24 u64 plain length
constexpr std::uint32_t kMagic = 0x8943dd9e, kState = 1, kMemory = 2;

}  // namespace

bool is_encrypted(std::span<const std::byte> head) {
  return head.size() >= 8 && load<std::uint32_t>(head, std::endian::little) == kMagic;
}

void refuse_encrypted(std::span<const std::byte> head, const ByteSource& file) {
  if (!is_encrypted(head)) return;
  const auto kind = load<std::uint32_t>(head.subspan(4), std::endian::little);
  const std::string what = kind == kState    ? "is the encrypted state of a virtual machine"
                           : kind == kMemory ? "is the encrypted memory of a virtual machine"
                                             : "is encrypted";
  throw Error(ErrorKind::unsupported, file.name(), std::nullopt,
              what +
                  "; remove the encryption in VMware and save it again, or decrypt it with "
                  "crypto-util on an ESXi that has the key");
}

}  // namespace vmconvert::vmware
