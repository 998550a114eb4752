#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/input.h"
#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/machine.h"

namespace vmconvert {

enum class Match { no, maybe, yes };

/// What a probe may look at.
struct ProbeWindow {
  std::span<const std::byte> head;  ///< the first 64 KiB, or all of a smaller input
  std::uint64_t size = 0;           ///< of the whole input
  std::string_view name{};          ///< of the input, as the user knows it; for what has no magic
};

/// What page tables of a Xen PV guest are to hold, if the input has machine frames in them.
enum class XenLayout {
  resolved,  ///< the guest's own frames, as everything that reads an image expects
  machine,   ///< machine frames, and these are the physical addresses of memory as well
  asis,      ///< what the input has
};

struct ReadOptions {
  bool salvage = false;                   ///< drop what is damaged instead of refusing
  std::optional<std::uint64_t> below_4g;  ///< bytes of main RAM below the 32-bit PCI hole
  /// Where memory blocks lie that the input does not place: name -> gpa. Every name must be one of
  /// the input's.
  std::map<std::string, GuestPhysAddr, std::less<>> block_addresses;
  /// The same, from a container around the input; what is not there is ignored.
  std::map<std::string, GuestPhysAddr, std::less<>> block_hints;
  std::string snapshot;    ///< id or name of the one to read, of an input that holds several
  bool screen = false;     ///< render what the display showed
  bool screen_needed = true;  ///< warn if there is nothing to render
  /// Read what only people and `extract` want, where that takes work of its own: facts, attachments.
  bool details = false;
  bool records = false;       ///< list what the input is made of
  bool memory_needed = true;  ///< refuse an input whose memory is elsewhere and not found
  std::string memory_file;  ///< path of the other half of an input that has only the state
  std::string state_file;   ///< path of the other half of an input that has only the memory
  std::string debug_file;  ///< path of the debug information of the process in a core
  std::string executable;  ///< path of the program of the process in a core
  std::string debug_root;  ///< folder of installed debug information; empty: none is looked for
  XenLayout xen_layout = XenLayout::resolved;
  std::optional<GuestMachine> machine;  ///< of the guest, for an input that does not tell
};

/// One input format.
struct Format {
  std::string_view name;     ///< --from value and name of its page in docs/formats
  std::string_view summary;  ///< one line for `vmconvert formats`
  /// nullptr: nothing in the content tells this format, it has to be asked for.
  Match (*probe)(const ProbeWindow& window) noexcept;
  /// @throws Error(corrupt, unsupported) if the input is of this format and cannot be converted
  GuestImage (*read)(const Input& input, const ReadOptions& options, Diagnostics& diagnostics);
  /// The saved states of an input that can hold several; nullptr if inputs of this format cannot.
  /// @throws Error(corrupt, unsupported)
  std::vector<Snapshot> (*snapshots)(const Input& input) = nullptr;
  /// What the input may lack and the user may name: ReadOptions::memory_file or state_file.
  bool takes_memory_file = false, takes_state_file = false;
  bool has_records = false;  ///< ReadOptions::records makes sense
};

}  // namespace vmconvert
