#pragma once

#include <cstdint>
#include <string>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// A libvirt save image, field by field.
struct LibvirtSave {
  std::string magic = "LibvirtQemudSave";
  std::uint32_t version = 2;
  std::uint32_t was_running = 1;
  std::uint32_t format = 0;
  std::string xml = "<domain type='kvm'><name>guest</name></domain>";
  std::string cookie;
  std::uint32_t padding = 64;         ///< zeros behind XML and cookie
  bool big_endian = false;            ///< written by a host of the other byte order
  std::uint32_t data_len_excess = 0;  ///< what the header claims beyond the truth
  std::uint32_t cookie_offset = 0;    ///< 0: the true one
  Bytes stream;

  Bytes bytes() const;
};

/// A domain with one DIMM at `base`, whose alias the user chose if it is not empty.
std::string domain_with_dimm(const std::string& base, const std::string& alias,
                             const std::string& slot = "0");

}  // namespace vmconvert::test
