#include "vmware/description.h"

#include <optional>
#include <string>

#include "vmconvert/base/text.h"
#include "vmware/companions.h"
#include "vmware/dictionary.h"
#include "vmware/embedded_files.h"
#include "vmware/snapshot_list.h"
#include "vmware/tag_records.h"

namespace vmconvert::vmware {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kLongestText = 4096;  // product, version, build: 256 bytes
// More groups than this that are damaged are counted.
constexpr unsigned kMostWarnings = 8;

/// docs/formats/vmware.md, "Checkpoint": what is known of the magics.
std::string kind_of(std::uint32_t magic) {
  switch (magic) {
    case 0xbed2bed2:
      return "normal";
    case 0xbed3bed3:
      return "partial";
    case 0xbad1bad1:
    case 0xbed1bed1:
      return "restored once";
    case 0xbad2bad2:
      return "not to be restored";
    default:
      return "magic " + hex(magic);
  }
}

std::string platform_name(std::uint64_t platform) {
  if (platform == 1) return "x86";
  if (platform == 3) return "ARM64";
  return std::to_string(platform);
}

/// Looks at all tags once, and keeps what tells about the machine.
class Describer {
 public:
  Describer(const Checkpoint& checkpoint, SourceId source, const ReadOptions& options,
            Diagnostics& diagnostics)
      : checkpoint_(checkpoint),
        name_(checkpoint.source()->name()),
        diagnostics_(diagnostics),
        files_(checkpoint, source, diagnostics) {
    if (options.records) records_.emplace(checkpoint, source);
  }

  void walk() {
    try {
      checkpoint_.walk_all(
          [&](const Group& group, const Tag& tag) {
            visit(group, tag);
            return true;
          },
          [&](const Group& group, const Error& error) { damaged(group, error); });
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      diagnostics_.warn("", std::string(error.what()) + "; not all of them are shown");
    }
    if (damaged_ > kMostWarnings) {
      diagnostics_.warn(name_,
                        counted(damaged_ - kMostWarnings, "more group") + " cannot be read whole");
    }
  }

  void finish(GuestImage& image) {
    const std::string version = version_.value_or("");
    image.metadata.machine = product_.value_or("") + (version.empty() ? "" : " " + version);
    add_facts(image.metadata);
    add_configuration(Dictionary(configuration_.value_or("")), image.metadata);
    files_.finish(image);
    if (records_) image.metadata.records = records_->finish(diagnostics_);
  }

 private:
  void visit(const Group& group, const Tag& tag) {
    files_.add(group, tag);
    if (records_) records_->add(group, tag);
    if (tag.name == "vm.powerOnTimeStamp.clientData") keep(tag, powered_on_);
    if (tag.name == "vm.suspendTime.clientData") keep(tag, suspended_);
    if (tag.index_count != 0) return;
    if (group.name == "Checkpoint") {
      if (tag.name == "ProductName") keep(tag, product_);
      if (tag.name == "VersionNumber") keep(tag, version_);
      if (tag.name == "BuildNumber") keep(tag, build_);
      if (tag.name == "fileversion") keep(tag, file_version_);
      if (tag.name == "Platform") keep(tag, platform_);
      if (tag.name == "memSize") keep(tag, memory_mib_);
    }
    if (group.name == "cpu" && tag.name == "cpu:numVCPUs") keep(tag, vcpus_);
    if (group.name == "Snapshot" && tag.name == "cfgFile")
      keep(tag, configuration_, kLargestDictionary);
  }

  void keep(const Tag& tag, std::optional<std::uint64_t>& to) {
    if (!to) to = checkpoint_.number(tag);
  }
  /// Of several tags of a name the first counts; if it cannot be read, the text is empty.
  void keep(const Tag& tag, std::optional<std::string>& to, std::uint64_t limit = kLongestText) {
    if (to || !tag.complete()) return;
    to.emplace();
    try {
      to = checkpoint_.text(tag, limit);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::io) throw;
      diagnostics_.warn("", error.what());
    }
  }

  void damaged(const Group& group, const Error& error) {
    if (records_) records_->add_damage(group, error.what());
    if (++damaged_ <= kMostWarnings) {
      diagnostics_.warn("", std::string(error.what()) + "; the rest of group " +
                                quoted(group.name) + " is not shown");
    }
  }

  void add_facts(Metadata& metadata) const {
    const auto add = [&](const char* key, const std::string& value) {
      if (!value.empty()) metadata.facts.push_back({key, value});
    };
    const auto add_number = [&](const char* key, const std::optional<std::uint64_t>& value) {
      if (value) metadata.facts.push_back({key, std::to_string(*value)});
    };
    add("vmware.product", product_.value_or(""));
    add("vmware.version", version_.value_or(""));
    add("vmware.build", build_.value_or(""));
    add("vmware.platform", platform_ ? platform_name(*platform_) : "");
    add("vmware.state", kind_of(checkpoint_.magic()));
    add("vmware.format_version", std::to_string(checkpoint_.version()));
    add_number("vmware.file_version", file_version_);
    if (memory_mib_ && *memory_mib_ <= ~std::uint64_t{0} / kMiB)
      add("vmware.memory_size", std::to_string(*memory_mib_ * kMiB));
    add_number("vmware.vcpus", vcpus_);
    add("vmware.powered_on", utc_date(powered_on_.value_or(0)));
    add("vmware.suspended", utc_date(suspended_.value_or(0)));
  }

  static void add_configuration(const Dictionary& configuration, Metadata& metadata) {
    const auto add = [&](const char* key, std::string_view wanted) {
      const auto value = configuration.find(wanted);
      if (value && !value->empty()) metadata.facts.push_back({key, *value});
    };
    add("vmx.name", "displayName");
    add("vmx.guest_os", "guestOS");
    add("vmx.annotation", "annotation");
    add("vmx.uuid", "uuid.bios");
    add("vmx.hardware_version", "virtualHW.version");
    add("vmx.firmware", "firmware");
  }

  const Checkpoint& checkpoint_;
  const std::string& name_;
  Diagnostics& diagnostics_;
  EmbeddedFiles files_;
  std::optional<TagRecords> records_;
  std::uint64_t damaged_ = 0;
  std::optional<std::uint64_t> file_version_, platform_, memory_mib_, vcpus_, powered_on_,
      suspended_;
  std::optional<std::string> product_, version_, build_, configuration_;
};

}  // namespace

void describe_state(const Input& state, const Checkpoint& checkpoint, SourceId source,
                    const ReadOptions& options, GuestImage& image, Diagnostics& diagnostics) {
  if (!options.details && !options.records) return;
  Describer describer(checkpoint, source, options, diagnostics);
  describer.walk();
  describer.finish(image);
  if (const Neighbours* folder = state.neighbours())
    add_snapshot_facts(*folder, checkpoint.source()->name(), image.metadata, diagnostics);
}

void add_region_facts(const std::vector<Placement>& placements, const MemoryImage& memory,
                      Metadata& metadata) {
  const auto range = [](std::uint64_t begin, std::uint64_t size) {
    return hex(begin) + '-' + hex(begin + size);
  };
  for (const Placement& placement : placements) {
    const std::uint64_t size = placement.guest.size();
    metadata.facts.push_back({"vmware.region", range(placement.guest.begin().value, size) + " is " +
                                                   range(memory.begin.value + placement.at, size) +
                                                   " of " +
                                                   (memory.unpacked ? "what unpacks from " : "") +
                                                   base_name(memory.source->name())});
  }
}

}  // namespace vmconvert::vmware
