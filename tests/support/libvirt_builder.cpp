#include "support/libvirt_builder.h"

namespace vmconvert::test {

Bytes LibvirtSave::bytes() const {
  ByteWriter data;
  data.text(xml).u8(0);
  std::uint64_t offset = cookie_offset;
  if (!cookie.empty()) {
    if (offset == 0) offset = data.size();
    data.text(cookie).u8(0);
  }
  data.fill(padding);
  ByteWriter out;
  const auto word = [&](std::uint64_t value) { big_endian ? out.be32(value) : out.le32(value); };
  out.text(magic);
  word(version);
  word(data.size() + data_len_excess);
  word(was_running);
  word(format);
  word(offset);
  out.fill(56);  // unused[14]
  return out.append(data.bytes()).append(stream).bytes();
}

std::string domain_with_dimm(const std::string& base, const std::string& alias,
                             const std::string& slot) {
  const std::string alias_element = alias.empty() ? "" : "<alias name='" + alias + "'/>";
  return "<domain type='kvm'><name>guest</name><devices><memory model='dimm'>" + alias_element +
         "<target><size unit='KiB'>2048</size></target>"
         "<address type='dimm' slot='" +
         slot + "' base='" + base + "'/></memory></devices></domain>";
}

}  // namespace vmconvert::test
