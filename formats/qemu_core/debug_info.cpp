#include "qemu_core/debug_info.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>

#include "vmconvert/base/text.h"
#include "vmconvert/io/unique_fd.h"

namespace vmconvert::qemu_core {
namespace {

constexpr std::uint64_t kLargestOffset = 1 << 16;  // of a field in a structure
constexpr unsigned kMostTypedefs = 8;

struct EndDwarf {
  void operator()(Dwarf* dwarf) const { dwarf_end(dwarf); }
};

/// A file with its debug information.
struct DebugFile {
  UniqueFd fd;
  std::unique_ptr<Dwarf, EndDwarf> dwarf;
};

[[noreturn]] void fail(const std::string& path, const std::string& why) {
  throw Error(ErrorKind::unsupported, path, std::nullopt, why);
}

DebugFile open_debug_file(const std::string& path) {
  DebugFile file{UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)), nullptr};
  if (!file.fd) throw io_error(path, std::nullopt, "open", errno);
  file.dwarf.reset(dwarf_begin(file.fd.get(), DWARF_C_READ));
  if (!file.dwarf) fail(path, "holds no debug information");
  return file;
}

/// dwz moves what several files share to one of its own, named with its build id.
std::optional<DebugFile> open_common_file(Dwarf* dwarf, const std::string& own_path,
                                          const std::string& root) {
  const char* name = nullptr;
  const void* build_id = nullptr;
  const ssize_t size = dwelf_dwarf_gnu_debugaltlink(dwarf, &name, &build_id);
  if (size <= 0) return std::nullopt;
  const std::string path =
      debug_file_path(root, {static_cast<const char*>(build_id), static_cast<std::size_t>(size)});
  if (::access(path.c_str(), R_OK) != 0)
    fail(own_path, "shares a part with other files, which is not there: " + printable(path));
  DebugFile common = open_debug_file(path);
  dwarf_setalt(dwarf, common.dwarf.get());
  return common;
}

std::string name_of(Dwarf_Die* die) {
  const char* name = dwarf_diename(die);
  return name != nullptr ? name : "";
}

/// Calls `visit` for each child; it may return false to stop.
void for_each_child(Dwarf_Die* parent, const std::function<bool(Dwarf_Die*)>& visit) {
  Dwarf_Die child;
  if (dwarf_child(parent, &child) != 0) return;
  do {
    if (!visit(&child)) return;
  } while (dwarf_siblingof(&child, &child) == 0);
}

std::optional<std::uint64_t> fixed_address(Dwarf_Die* variable) {
  Dwarf_Attribute attribute;
  Dwarf_Op* ops = nullptr;
  std::size_t count = 0;
  if (dwarf_attr_integrate(variable, DW_AT_location, &attribute) == nullptr) return std::nullopt;
  if (dwarf_getlocation(&attribute, &ops, &count) != 0 || count != 1) return std::nullopt;
  if (ops[0].atom != DW_OP_addr) return std::nullopt;
  return ops[0].number;
}

/// Members of a structure: name -> offset; and its size.
struct Structure {
  std::map<std::string, std::uint64_t, std::less<>> members;
  std::uint64_t size = 0;
};

void add_members(Dwarf_Die* die, std::uint64_t base, const std::string& prefix, unsigned depth,
                 Structure& structure);

/// The structure behind a member's typedefs; false if it is none.
bool structure_of(Dwarf_Die* member, Dwarf_Die* type) {
  Dwarf_Attribute attribute;
  Dwarf_Die* found = dwarf_formref_die(dwarf_attr_integrate(member, DW_AT_type, &attribute), type);
  for (unsigned i = 0; found != nullptr && i < kMostTypedefs; ++i) {
    if (dwarf_tag(type) == DW_TAG_structure_type) return true;
    if (dwarf_tag(type) != DW_TAG_typedef) return false;
    found = dwarf_formref_die(dwarf_attr_integrate(type, DW_AT_type, &attribute), type);
  }
  return false;
}

void add_members(Dwarf_Die* die, std::uint64_t base, const std::string& prefix, unsigned depth,
                 Structure& structure) {
  for_each_child(die, [&](Dwarf_Die* child) {
    Dwarf_Attribute attribute;
    Dwarf_Word offset = 0;
    if (dwarf_tag(child) != DW_TAG_member) return true;
    if (dwarf_attr(child, DW_AT_data_member_location, &attribute) == nullptr ||
        dwarf_formudata(&attribute, &offset) != 0 || offset > kLargestOffset) {
      return true;
    }
    const std::string name = prefix + name_of(child);
    structure.members.emplace(name, base + offset);
    Dwarf_Die type;
    if (depth != 0 && structure_of(child, &type))
      add_members(&type, base + offset, name + ".", depth - 1, structure);
    return true;
  });
}

constexpr std::array<std::string_view, 9> kStructures{
    "AddressSpace",      "FlatView", "FlatRange",   "MemoryRegion",   "RAMBlock",
    "HostMemoryBackend", "Object",   "ObjectClass", "VMCoreInfoState"};

/// What is wanted of the debug information of a whole program.
class Collector {
 public:
  explicit Collector(Dwarf* dwarf) : dwarf_(dwarf) {}

  void collect() {
    Dwarf_CU* unit = nullptr;
    Dwarf_Die die;
    std::uint8_t type = 0;
    while (dwarf_get_units(dwarf_, unit, &unit, nullptr, &type, &die, nullptr) == 0) {
      if (type == DW_UT_compile || type == DW_UT_partial) scan_unit(&die);
    }
    // dwz leaves a program's own types in units of the common file.
    Dwarf* common = dwarf_getalt(dwarf_);
    unit = nullptr;
    while (common != nullptr &&
           dwarf_get_units(common, unit, &unit, nullptr, &type, &die, nullptr) == 0) {
      scan_unit(&die);
    }
  }

  std::map<std::string, Structure, std::less<>> structures;
  std::optional<std::uint64_t> address_space_memory, vmcoreinfo_state;

 private:
  void scan_unit(Dwarf_Die* unit) {
    for_each_child(unit, [&](Dwarf_Die* die) {
      switch (dwarf_tag(die)) {
        case DW_TAG_structure_type:
          add_structure(name_of(die), die);
          break;
        case DW_TAG_typedef:  // of a structure without a name of its own
          if (wanted(name_of(die))) {
            Dwarf_Die type;
            if (structure_of(die, &type)) add_structure(name_of(die), &type);
          }
          break;
        case DW_TAG_variable:
          if (!address_space_memory && name_of(die) == "address_space_memory")
            address_space_memory = fixed_address(die);
          break;
        case DW_TAG_subprogram:
          if (!vmcoreinfo_state && name_of(die) == "vmcoreinfo_realize") scan_function(die);
          break;
        default:
          break;
      }
      return true;
    });
  }

  /// The device is known by a static variable in a function, which is there for gdb.
  void scan_function(Dwarf_Die* function) {
    for_each_child(function, [&](Dwarf_Die* die) {
      if (dwarf_tag(die) == DW_TAG_variable && name_of(die) == "vmcoreinfo_state")
        vmcoreinfo_state = fixed_address(die);
      return !vmcoreinfo_state;
    });
  }

  bool wanted(const std::string& name) const {
    return std::find(kStructures.begin(), kStructures.end(), name) != kStructures.end() &&
           !structures.contains(name);
  }

  void add_structure(const std::string& name, Dwarf_Die* die) {
    if (!wanted(name) || dwarf_hasattr(die, DW_AT_declaration) != 0) return;
    Structure structure;
    const int size = dwarf_bytesize(die);
    structure.size = size > 0 ? static_cast<std::uint64_t>(size) : 0;
    add_members(die, 0, "", 1, structure);
    if (!structure.members.empty()) structures.emplace(name, std::move(structure));
  }

  Dwarf* dwarf_;
};

class LayoutMaker {
 public:
  LayoutMaker(const Collector& found, const std::string& path) : found_(found), path_(path) {}

  Layout make() const {
    Layout l{.name = "the debug information"};
    set(l.address_space.name, "AddressSpace", "name");
    set(l.address_space.current_map, "AddressSpace", "current_map");
    set(l.flat_view.ranges, "FlatView", "ranges");
    set(l.flat_view.nr, "FlatView", "nr");
    set(l.flat_range.mr, "FlatRange", "mr");
    set(l.flat_range.offset_in_region, "FlatRange", "offset_in_region");
    set(l.flat_range.start, "FlatRange", "addr.start");
    set(l.flat_range.length, "FlatRange", "addr.size");
    l.flat_range.size = checked_cast<std::uint32_t>(structure("FlatRange").size);
    if (l.flat_range.size == 0) fail(path_, "tells no size of struct FlatRange");
    set(l.memory_region.ram, "MemoryRegion", "ram");
    set(l.memory_region.readonly, "MemoryRegion", "readonly");
    set(l.memory_region.nonvolatile, "MemoryRegion", "nonvolatile");
    set(l.memory_region.ram_block, "MemoryRegion", "ram_block");
    set(l.memory_region.owner, "MemoryRegion", "owner");
    set(l.memory_region.size, "MemoryRegion", "size");
    set(l.memory_region.terminates, "MemoryRegion", "terminates");
    set(l.memory_region.ram_device, "MemoryRegion", "ram_device");
    set(l.ram_block.mr, "RAMBlock", "mr");
    set(l.ram_block.host, "RAMBlock", "host");
    set(l.ram_block.used_length, "RAMBlock", "used_length");
    set(l.ram_block.max_length, "RAMBlock", "max_length");
    set(l.ram_block.idstr, "RAMBlock", "idstr");
    set(l.ram_block.next, "RAMBlock", "next");
    set(l.host_memory_backend.size, "HostMemoryBackend", "size");
    set(l.host_memory_backend.dump, "HostMemoryBackend", "dump");
    set(l.object.klass, "Object", "class");
    set(l.object.parent, "Object", "parent");
    set(l.object.type, "ObjectClass", "type");
    if (found_.structures.contains("VMCoreInfoState")) {
      set(l.vmcoreinfo_state.has_vmcoreinfo, "VMCoreInfoState", "has_vmcoreinfo");
      set(l.vmcoreinfo_state.vmcoreinfo, "VMCoreInfoState", "vmcoreinfo");
    }
    return l;
  }

 private:
  const Structure& structure(std::string_view name) const {
    const auto found = found_.structures.find(name);
    if (found == found_.structures.end())
      fail(path_, "does not describe struct " + std::string(name) + "; it is not of QEMU");
    return found->second;
  }
  void set(std::uint32_t& to, std::string_view name, std::string_view member) const {
    const auto& members = structure(name).members;
    const auto found = members.find(member);
    if (found == members.end()) {
      fail(path_, "describes a struct " + std::string(name) + " without " + std::string(member));
    }
    to = checked_cast<std::uint32_t>(found->second);
  }

  const Collector& found_;
  const std::string& path_;
};

}  // namespace

std::string debug_file_path(const std::string& root, const std::string& build_id) {
  std::string digits;
  for (const char c : build_id) {
    const auto byte = static_cast<unsigned char>(c);
    digits += "0123456789abcdef"[byte >> 4];
    digits += "0123456789abcdef"[byte & 15];
  }
  return root + "/.build-id/" + digits.substr(0, 2) + "/" + digits.substr(2) + ".debug";
}

ProgramFacts read_debug_info(const std::string& path, const std::string& root) {
  const DebugFile file = open_debug_file(path);
  const std::optional<DebugFile> common = open_common_file(file.dwarf.get(), path, root);
  ProgramFacts facts{.origin = "debug information in " + printable(path)};
  Elf* elf = dwarf_getelf(file.dwarf.get());
  GElf_Ehdr header;
  if (gelf_getehdr(elf, &header) != nullptr) facts.entry = header.e_entry;
  const void* build_id = nullptr;
  const ssize_t size = dwelf_elf_gnu_build_id(elf, &build_id);
  if (size > 0)
    facts.build_id.emplace(static_cast<const char*>(build_id), static_cast<std::size_t>(size));
  Collector found(file.dwarf.get());
  found.collect();
  facts.layout = LayoutMaker(found, path).make();
  facts.address_space_memory = found.address_space_memory;
  if (found.structures.contains("VMCoreInfoState")) facts.vmcoreinfo_state = found.vmcoreinfo_state;
  if (!facts.address_space_memory) fail(path, "tells no address of address_space_memory");
  return facts;
}

}  // namespace vmconvert::qemu_core
