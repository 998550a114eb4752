#include "qemu/qcow2_header.h"

#include <algorithm>
#include <optional>
#include <string>

#include "qemu/qcow2_format.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu::qcow2 {
namespace {

constexpr std::uint32_t kSmallestHeaderV3 = 104;
constexpr std::uint64_t kFeatureNameSize = 46;

bool has_bit(std::uint64_t bits, unsigned bit) { return (bits >> bit & 1) != 0; }

std::string bits_named(std::uint64_t bits) {
  std::string text;
  for (unsigned bit = 0; bit < 64; ++bit) {
    if (has_bit(bits, bit)) text += (text.empty() ? "bit " : ", bit ") + std::to_string(bit);
  }
  return text;
}

/// The names that the image itself has for these features, or their numbers.
std::string feature_names(const ByteSource& image, std::uint64_t extensions,
                          std::uint64_t first_cluster_end, std::uint64_t bits) {
  const FileOffset end{std::min(first_cluster_end, image.size())};
  if (extensions > end.value) return bits_named(bits);
  Cursor cursor(image, FileRange::between({extensions}, end), std::endian::big);
  std::string names;
  while (cursor.remaining() >= 8) {
    const auto type = cursor.read<std::uint32_t>("header extension type");
    const auto size = cursor.read<std::uint32_t>("header extension length");
    if (type == kExtensionEnd || size > cursor.remaining()) break;
    Cursor data(image, cursor.take(size, "header extension"), std::endian::big);
    cursor.take(std::min(align_up(size, 8) - size, cursor.remaining()), "padding");
    if (type != kExtensionFeatureNames) continue;
    while (data.remaining() >= 2 + kFeatureNameSize) {
      const auto kind = data.read<std::uint8_t>("feature type");
      const auto bit = data.read<std::uint8_t>("feature bit");
      std::string name = data.read_text(kFeatureNameSize, "feature name");
      if (kind != 0 || bit >= 64 || !has_bit(bits, bit)) continue;
      name.resize(std::min(name.find('\0'), name.size()));
      names += (names.empty() ? "" : ", ") + quoted(name);
      bits &= ~(std::uint64_t{1} << bit);
    }
  }
  if (bits != 0) names += (names.empty() ? "" : ", ") + bits_named(bits);
  return names;
}

Encryption read_encryption(Cursor& cursor) {
  const auto method = cursor.read<std::uint32_t>("crypt_method");
  if (method > 2) {
    cursor.fail("crypt_method", std::to_string(method) + " is unknown", ErrorKind::unsupported);
  }
  return static_cast<Encryption>(method);
}

void read_compression(Cursor& cursor, std::uint32_t header_length, bool announced, Header& header) {
  std::uint8_t type = 0;
  if (header_length > kSmallestHeaderV3) type = cursor.read<std::uint8_t>("compression_type");
  if (type > 1) {
    cursor.fail("compression_type", std::to_string(type) + " is unknown", ErrorKind::unsupported);
  }
  if (announced != (type != 0)) {
    cursor.fail("compression_type", "contradicts incompatible_features bit 3");
  }
  header.compression = type == 0 ? Compression::zlib : Compression::zstd;
}

/// What version 3 added.
void read_version_3(const ByteSource& image, Cursor& cursor, Header& header) {
  const auto features = cursor.read<std::uint64_t>("incompatible_features");
  const FileOffset features_at{cursor.position().value - 8};
  cursor.take(8, "compatible_features");
  cursor.take(8, "autoclear_features");
  cursor.take(4, "refcount_order");
  const auto length = cursor.read<std::uint32_t>("header_length");
  if (length < kSmallestHeaderV3 || length > header.cluster_size()) {
    cursor.fail("header_length", std::to_string(length) + " is impossible");
  }
  if (const std::uint64_t unknown = features >> feature::kKnown << feature::kKnown; unknown != 0) {
    throw Error(ErrorKind::unsupported, image.name(), features_at.value,
                "incompatible_features holds what this program does not know: " +
                    feature_names(image, length, header.cluster_size(), unknown));
  }
  header.marked_corrupt = has_bit(features, feature::kCorrupt);
  header.external_data = has_bit(features, feature::kExternalData);
  header.extended_l2 = has_bit(features, feature::kExtendedL2);
  if (header.extended_l2 && header.cluster_bits < kSmallestExtendedClusterBits) {
    throw Error(ErrorKind::corrupt, image.name(), features_at.value,
                "incompatible_features has extended L2 entries with clusters below 16 KiB");
  }
  read_compression(cursor, length, has_bit(features, feature::kCompression), header);
}

}  // namespace

Header read_header(const ByteSource& image) {
  Cursor cursor(image, FileRange::sized({0}, image.size()), std::endian::big);
  Header header;
  if (cursor.read<std::uint32_t>("magic") != kMagic) cursor.fail("magic", "is not that of qcow2");
  header.version = cursor.read<std::uint32_t>("version");
  if (header.version != 2 && header.version != 3) {
    cursor.fail("version", std::to_string(header.version) + " is not supported (only 2 and 3 are)",
                ErrorKind::unsupported);
  }
  header.has_backing_file = cursor.read<std::uint64_t>("backing_file_offset") != 0;
  cursor.take(4, "backing_file_size");
  header.cluster_bits = cursor.read<std::uint32_t>("cluster_bits");
  if (header.cluster_bits < kSmallestClusterBits || header.cluster_bits > kLargestClusterBits) {
    cursor.fail("cluster_bits", std::to_string(header.cluster_bits) + " is not from 9 to 21");
  }
  header.disk_size = cursor.read<std::uint64_t>("size");
  header.encryption = read_encryption(cursor);
  cursor.take(4 + 8, "l1_size, l1_table_offset");  // of the disk as it is now
  cursor.take(8 + 4, "refcount_table_offset, refcount_table_clusters");
  header.snapshot_count = cursor.read<std::uint32_t>("nb_snapshots");
  if (header.snapshot_count > kMostSnapshots) {
    cursor.fail("nb_snapshots", std::to_string(header.snapshot_count) + " is more than the " +
                                    std::to_string(kMostSnapshots) + " that QEMU reads");
  }
  header.snapshots_offset = cursor.read<std::uint64_t>("snapshots_offset");
  if (header.version == 3) read_version_3(image, cursor, header);
  return header;
}

void require_readable_clusters(const ByteSource& image, const Header& header) {
  if (header.encryption != Encryption::none) {
    throw Error(ErrorKind::unsupported, image.name(), std::nullopt,
                std::string("is encrypted (") +
                    (header.encryption == Encryption::aes ? "AES" : "LUKS") +
                    "), the machine state too; let QEMU load the snapshot with the key (-S -loadvm "
                    "NAME) and save it with migrate");
  }
  if (header.external_data) {
    throw Error(ErrorKind::unsupported, image.name(), std::nullopt,
                "keeps its data in an external data file; QEMU cannot save machine state in such "
                "an image (look for it in another disk of the machine)");
  }
}

}  // namespace vmconvert::qemu::qcow2
