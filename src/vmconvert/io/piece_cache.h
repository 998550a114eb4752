#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace vmconvert {

/// What was read or unpacked last, shared by threads. Holds at most as many pieces as it was made
/// for; those in use elsewhere live on until they are let go.
template <class Key>
class PieceCache {
 public:
  using Piece = std::shared_ptr<const std::vector<std::byte>>;

  explicit PieceCache(std::size_t most) : most_(most) {}

  /// The piece of this key, made by `make` if it is not there. Two threads that miss the same one
  /// both make it, rather than one waiting while the other reads.
  template <class Make>
  Piece get(const Key& key, const Make& make) {
    if (Piece piece = find(key)) return piece;
    auto piece = std::make_shared<const std::vector<std::byte>>(make());
    insert(key, piece);
    return piece;
  }

 private:
  struct Slot {
    Key key;
    Piece piece;
    std::uint64_t used;
  };

  Piece find(const Key& key) {
    const std::lock_guard lock(mutex_);
    for (Slot& slot : slots_) {
      if (slot.key != key) continue;
      slot.used = ++clock_;
      return slot.piece;
    }
    return nullptr;
  }

  void insert(const Key& key, Piece piece) {
    const std::lock_guard lock(mutex_);
    Slot* oldest = nullptr;
    for (Slot& slot : slots_) {
      if (slot.key == key) return;
      if (oldest == nullptr || slot.used < oldest->used) oldest = &slot;
    }
    if (slots_.size() < most_) {
      slots_.push_back({key, std::move(piece), ++clock_});
    } else {
      *oldest = {key, std::move(piece), ++clock_};
    }
  }

  const std::size_t most_;  ///< at least 1; searched one by one, so not many
  std::mutex mutex_;
  std::vector<Slot> slots_;
  std::uint64_t clock_ = 0;
};

}  // namespace vmconvert
