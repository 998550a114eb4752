#include "qemu/qcow2_unpack.h"

#include <zlib.h>
#include <zstd.h>

#include <memory>
#include <new>

namespace vmconvert::qemu::qcow2 {
namespace {

/// Raw deflate: no header, no checksum. QEMU packs with a window of 4 KiB; others may use more.
std::string inflate_cluster(std::span<const std::byte> packed, std::span<std::byte> cluster) {
  z_stream stream{};
  if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, decltype(&::inflateEnd)> guard(&stream, ::inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(cluster.data());
  stream.avail_out = static_cast<uInt>(cluster.size());
  const int status = ::inflate(&stream, Z_FINISH);
  if (status == Z_MEM_ERROR) throw std::bad_alloc();
  // Z_BUF_ERROR with a full cluster: what follows in the last sector is not ours.
  if (stream.avail_out == 0 && (status == Z_STREAM_END || status == Z_BUF_ERROR)) return "";
  return status == Z_STREAM_END || status == Z_BUF_ERROR ? "ends early" : "is damaged";
}

/// One frame. It is unpacked in one go, so it cannot ask for memory beyond the cluster.
std::string unzstd_cluster(std::span<const std::byte> packed, std::span<std::byte> cluster) {
  const std::size_t frame = ::ZSTD_findFrameCompressedSize(packed.data(), packed.size());
  if (::ZSTD_isError(frame) != 0) return "is damaged";
  const std::size_t size = ::ZSTD_decompress(cluster.data(), cluster.size(), packed.data(), frame);
  if (::ZSTD_isError(size) != 0) return "is damaged";
  return size == cluster.size() ? "" : "ends early";
}

}  // namespace

std::string unpack_cluster(Compression compression, std::span<const std::byte> packed,
                           std::span<std::byte> cluster) {
  return compression == Compression::zlib ? inflate_cluster(packed, cluster)
                                          : unzstd_cluster(packed, cluster);
}

}  // namespace vmconvert::qemu::qcow2
