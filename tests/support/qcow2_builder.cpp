#include "support/qcow2_builder.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <map>
#include <stdexcept>

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kCopiedFlag = 0x8000000000000000;
constexpr std::uint64_t kPackedFlag = 0x4000000000000000;

Bytes deflate_raw(std::span<const std::byte> plain) {
  z_stream stream{};
  if (::deflateInit2(&stream, 6, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  Bytes packed(plain.size() * 2 + 64);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int status = ::deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (status != Z_STREAM_END) throw std::runtime_error("deflate");
  return packed;
}

Bytes zstd_frame(std::span<const std::byte> plain) {
  Bytes packed(::ZSTD_compressBound(plain.size()));
  packed.resize(::ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 3));
  return packed;
}

/// Lays an image out, cluster by cluster.
class Layout {
 public:
  explicit Layout(const Qcow2Image& image) : image_(image), file_(image.cluster()) {}

  Bytes build() {
    std::vector<Bytes> entries;
    for (const Qcow2State& snapshot : image_.snapshots) entries.push_back(add_snapshot(snapshot));
    ByteWriter table;
    for (const Bytes& entry : entries) table.append(entry).fill((8 - entry.size() % 8) % 8);
    const std::uint64_t snapshots = entries.empty() ? 0 : add(table.bytes());
    // The disk as it is now maps nothing.
    const std::uint64_t disk_entries = (image_.disk_size + span() - 1) / span();
    const std::uint64_t active = add(Bytes(std::max<std::uint64_t>(disk_entries, 1) * 8));
    const auto [refcounts, refcount_clusters] = add_refcounts();
    const Bytes head = header(active, disk_entries, snapshots, refcounts, refcount_clusters);
    std::copy(head.begin(), head.end(), file_.begin());
    return file_;
  }

 private:
  std::uint64_t cluster() const { return image_.cluster(); }
  std::uint64_t entry_size() const { return image_.extended ? 16 : 8; }
  std::uint64_t span() const { return cluster() / entry_size() * cluster(); }

  /// Room for so many bytes in whole clusters, each used once.
  std::uint64_t allocate(std::uint64_t size) {
    const std::uint64_t at = file_.size();
    file_.resize((at + size + cluster() - 1) / cluster() * cluster());
    for (std::uint64_t i = at / cluster(); i < file_.size() / cluster(); ++i) ++used_[i];
    return at;
  }
  std::uint64_t add(std::span<const std::byte> bytes) {
    const std::uint64_t at = allocate(bytes.size());
    std::copy(bytes.begin(), bytes.end(), file_.begin() + static_cast<std::ptrdiff_t>(at));
    return at;
  }
  void put(std::uint64_t at, std::uint64_t value) {
    const Bytes bytes = ByteWriter().be64(value).bytes();
    std::copy(bytes.begin(), bytes.end(), file_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  Bytes add_snapshot(const Qcow2State& snapshot) {
    const std::uint64_t disk = snapshot.disk_size.value_or(image_.disk_size);
    const std::uint64_t first = (disk + span() - 1) / span();
    const std::uint64_t count = (snapshot.state.size() + span() - 1) / span();
    const std::uint64_t l1 = allocate(std::max<std::uint64_t>(first + count, 1) * 8);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t l2 = allocate(cluster());
      put(l1 + (first + i) * 8, l2 | kCopiedFlag);
      add_clusters(snapshot.state, i * span(), l2);
    }
    const std::uint64_t size = snapshot.size_field.value_or(snapshot.state.size());
    Bytes extra = ByteWriter().be64(size).be64(disk).be64(~std::uint64_t{0}).bytes();
    extra.resize(snapshot.extra_size, std::byte{0xee});
    ByteWriter entry;
    entry.be64(snapshot.l1_offset_field.value_or(l1));
    entry.be32(snapshot.l1_size_field.value_or(static_cast<std::uint32_t>(first + count)));
    entry.be16(static_cast<unsigned>(snapshot.id.size()));
    entry.be16(static_cast<unsigned>(snapshot.name.size()));
    entry.be32(snapshot.date).be32(0).be64(snapshot.vm_clock);
    entry.be32(snapshot.small_size_field.value_or(static_cast<std::uint32_t>(size)));
    entry.be32(snapshot.extra_size).append(extra).text(snapshot.id).text(snapshot.name);
    return entry.bytes();
  }

  /// What one L2 table maps.
  void add_clusters(const Bytes& state, std::uint64_t begin, std::uint64_t l2) {
    const std::uint64_t end = std::min<std::uint64_t>(state.size(), begin + span());
    const std::uint64_t count = (end - begin + cluster() - 1) / cluster();
    for (std::uint64_t k = 0; k < count; ++k) {
      const std::uint64_t i = image_.reversed ? count - 1 - k : k;
      const std::uint64_t at = begin + i * cluster();
      Bytes content(cluster());
      std::copy(state.begin() + static_cast<std::ptrdiff_t>(at),
                state.begin() + static_cast<std::ptrdiff_t>(std::min(at + cluster(), end)),
                content.begin());
      add_cluster(image_.kept(at / cluster()), content, l2 + i * entry_size());
    }
  }

  void add_cluster(Kept kept, const Bytes& content, std::uint64_t entry) {
    if (kept == Kept::packed) {
      const Bytes packed = image_.zstd ? zstd_frame(content) : deflate_raw(content);
      if (packed.size() < content.size()) return put(entry, add_packed(packed));
      kept = Kept::plain;  // as QEMU does; the entry has no room for more sectors than that
    }
    if (kept == Kept::zero) {
      put(entry, image_.extended ? 0 : 1);
      if (image_.extended) put(entry + 8, 0xffffffff00000000);
    } else if (kept == Kept::plain) {
      put(entry, add(content) | kCopiedFlag);
      if (image_.extended) put(entry + 8, bitmap(content));
    }
  }

  /// Subclusters of zeros are marked as such, or left out, by turns.
  std::uint64_t bitmap(const Bytes& content) const {
    const std::uint64_t size = cluster() / 32;
    std::uint64_t bits = 0;
    for (std::uint64_t i = 0; i < 32; ++i) {
      const auto part = std::span(content).subspan(i * size, size);
      const bool zero =
          std::all_of(part.begin(), part.end(), [](std::byte b) { return b == std::byte{0}; });
      if (!zero) bits |= std::uint64_t{1} << i;
      if (zero && i % 2 == 0) bits |= std::uint64_t{1} << (32 + i);
    }
    return bits;
  }

  /// Packs one behind the other, at any byte. @returns the L2 entry
  std::uint64_t add_packed(const Bytes& packed) {
    if (packed_end_ == 0 || packed_end_ % cluster() == 0 ||
        packed_end_ + packed.size() > packed_room_) {
      packed_end_ = allocate(packed.size() + 3 * cluster());
      packed_room_ = file_.size();
      for (std::uint64_t i = packed_end_ / cluster(); i < packed_room_ / cluster(); ++i)
        used_[i] = 0;
      packed_end_ += 5;
    }
    const std::uint64_t at = packed_end_;
    std::copy(packed.begin(), packed.end(), file_.begin() + static_cast<std::ptrdiff_t>(at));
    packed_end_ += packed.size();
    const std::uint64_t sectors = (packed_end_ - 1) / 512 - at / 512;
    const std::uint64_t sectors_end = (at / 512 + sectors + 1) * 512;
    for (std::uint64_t i = at / cluster(); i <= (sectors_end - 1) / cluster(); ++i) ++used_[i];
    return kPackedFlag | sectors << (62 - (image_.cluster_bits - 8)) | at;
  }

  /// A refcount table of one cluster and its blocks, 16 bits for each cluster of the file.
  std::pair<std::uint64_t, std::uint64_t> add_refcounts() {
    const std::uint64_t per_block = cluster() / 2;
    std::uint64_t blocks = 1;
    while (blocks * per_block < file_.size() / cluster() + 1 + blocks) ++blocks;
    const std::uint64_t table_clusters = (blocks * 8 + cluster() - 1) / cluster();
    const std::uint64_t table = allocate(blocks * 8);
    const std::uint64_t first = allocate(blocks * cluster());
    used_[0] = 1;
    for (std::uint64_t i = 0; i < blocks; ++i) put(table + i * 8, first + i * cluster());
    for (const auto& [number, count] : used_) {
      const std::uint64_t at = first + number * 2;
      file_.at(at) = static_cast<std::byte>(count >> 8);
      file_.at(at + 1) = static_cast<std::byte>(count);
    }
    return {table, table_clusters};
  }

  Bytes header(std::uint64_t active, std::uint64_t disk_entries, std::uint64_t snapshots,
               std::uint64_t refcounts, std::uint64_t refcount_clusters) const {
    ByteWriter out;
    const std::uint64_t length = image_.version == 3 ? image_.header_length : 72;
    const std::uint64_t extensions_end = length + image_.extensions.size() + 8;
    out.text("QFI\xfb").be32(image_.version);
    out.be64(image_.backing_file.empty() ? 0 : extensions_end).be32(image_.backing_file.size());
    out.be32(image_.cluster_bits).be64(image_.disk_size).be32(image_.luks ? 2 : 0);
    out.be32(disk_entries).be64(active).be64(refcounts).be32(refcount_clusters);
    out.be32(image_.snapshots.size()).be64(snapshots);
    if (image_.version == 3) {
      const std::uint64_t features = (image_.zstd ? 8U : 0U) | (image_.extended ? 16U : 0U);
      out.be64(features | image_.more_features).be64(0).be64(0).be32(4).be32(image_.header_length);
      if (length > 104) out.u8(image_.zstd ? 1 : 0).fill(length - 105);
    }
    out.append(image_.extensions).fill(8).text(image_.backing_file);
    if (out.size() > cluster()) throw std::logic_error("the header is too long");
    return out.bytes();
  }

  const Qcow2Image& image_;
  Bytes file_;
  std::map<std::uint64_t, unsigned> used_;  ///< cluster number -> refcount
  std::uint64_t packed_end_ = 0;
  std::uint64_t packed_room_ = 0;
};

}  // namespace

Bytes soft_page(std::uint64_t number) {
  Bytes page;
  std::uint64_t random = number + 1;
  while (page.size() < 4096) {
    random = random * 6364136223846793005U + 1442695040888963407U;
    page.insert(page.end(), 4, static_cast<std::byte>(random >> 40));
  }
  return page;
}

Bytes Qcow2Image::bytes() const { return Layout(*this).build(); }

}  // namespace vmconvert::test
