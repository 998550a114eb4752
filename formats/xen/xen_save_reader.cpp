#include "xen/xen_save_reader.h"

#include <array>
#include <string>
#include <utility>

#include "vmconvert/base/text.h"
#include "xen/domain_config.h"
#include "xen/hvm_context.h"
#include "xen/legacy_stream.h"
#include "xen/libxl_stream.h"
#include "xen/save_container.h"
#include "xen/vcpu_context.h"
#include "xen/xen_format.h"
#include "xen/xen_metadata.h"

namespace vmconvert::xen {
namespace {

constexpr std::uint64_t kLargestConfig = 16U << 20;  // some KiB are usual

Match probe(const ProbeWindow& window) noexcept {
  switch (save_start(window.head)) {
    case SaveStart::yes:
      return Match::yes;
    case SaveStart::maybe:
      return Match::maybe;
    case SaveStart::no:
      break;
  }
  return Match::no;
}

class Reader {
 public:
  Reader(const Input& input, const ReadOptions& options, Diagnostics& diagnostics)
      : input_(input), source_(*input.source()), options_(options), diagnostics_(diagnostics) {}

  GuestImage read() {
    const SaveContainer container = open_save_container(source_);
    diagnostics_.decision(source_.name(), container.name + ", " + stream_text(container) +
                                              " at offset " + hex(container.begin.value));
    SavedGuest guest =
        container.stream == SaveContainer::Stream::legacy
            ? read_legacy_stream(source_, container.begin, options_.salvage, diagnostics_)
            : read_stream(source_, container.begin, options_.salvage, diagnostics_);
    GuestImage image;
    image.sources.push_back(input_.source());
    describe(guest, image);
    read_config(container, image);
    take_memory(guest, image);
    if (guest.pv) {
      read_pv_vcpus(guest, image);
    } else {
      read_hvm_state(guest, image);
    }
    set_arch(source_.name(), !image.vcpus.empty(), options_, image, diagnostics_);
    report_guest(source_.name(), image, diagnostics_);
    return image;
  }

 private:
  static std::string stream_text(const SaveContainer& container) {
    return container.stream == SaveContainer::Stream::legacy ? "a stream of Xen 4.5 or older"
                                                             : "a stream";
  }

  void describe(const SavedGuest& guest, GuestImage& image) const {
    image.xen =
        XenFacts{.type = guest.pv ? XenGuestType::pv : XenGuestType::hvm, .width = guest.width};
    image.xen->major = guest.major, image.xen->minor = guest.minor;
    if (guest.shared_info) image.xen->shared_info = SourceBytes{0, *guest.shared_info};
    add_guest_facts(image);
    auto& facts = image.metadata.facts;
    facts.insert(facts.end(), guest.facts.begin(), guest.facts.end());
    if (guest.p2m_entries) facts.push_back({"xen.p2m-entries", std::to_string(*guest.p2m_entries)});
    image.attachments = guest.attachments;
  }

  void read_config(const SaveContainer& container, GuestImage& image) const {
    if (!container.config) return;
    constexpr std::array<std::pair<const char*, const char*>, 4> kFiles{
        {{"domain.json", "application/json"},
         {"domain.cfg", "text/plain"},
         {"domain.sxp", "text/plain"},
         {"domain.xml", "text/xml"}}};
    const auto& [name, media_type] = kFiles.at(static_cast<std::size_t>(container.config_kind));
    image.attachments.insert(
        image.attachments.begin(),
        {Attachment::Kind::configuration, name, media_type, SourceBytes{0, *container.config}});
    if (container.config->size() > kLargestConfig) return;
    std::string text(static_cast<std::size_t>(container.config->size()), '\0');
    source_.read_at(container.config->begin(), std::as_writable_bytes(std::span(text)));
    const DomainConfig config = read_domain_config(text, container.config_kind);
    auto& facts = image.metadata.facts;
    facts.insert(facts.begin(), config.facts.begin(), config.facts.end());
    if (config.type == "pvh") image.metadata.machine = "Xen, PVH guest";
    if (config.type == "hvm") image.metadata.machine = "Xen, HVM guest";
  }

  void take_memory(SavedGuest& guest, GuestImage& image) const {
    const std::uint64_t replaced = guest.pages.replaced(), dropped = guest.pages.dropped();
    image.runs = guest.pages.finish();
    if (replaced + dropped == 0) return;
    diagnostics_.decision(source_.name(), "a live save: " + counted(replaced, "page") +
                                              " came again, " + counted(dropped, "page") +
                                              " went away; the last of each counts");
  }

  void read_pv_vcpus(const SavedGuest& guest, GuestImage& image) const {
    if (guest.contexts.empty()) {
      diagnostics_.warn(source_.name(), "no registers: the stream holds none");
      return;
    }
    for (const auto& [number, at] : guest.contexts) {
      add_vcpu(
          read_x86_context(source_, at, XenGuestType::pv, guest.width, XenTables::pseudo_physical),
          source_.name(), image, diagnostics_);
    }
  }

  void read_hvm_state(const SavedGuest& guest, GuestImage& image) const {
    if (!guest.hvm_context) {
      diagnostics_.warn(source_.name(), "no registers: the stream holds none");
      return;
    }
    try {
      const HvmContext context = read_hvm_context(source_, *guest.hvm_context);
      image.vcpus.assign(context.vcpus.begin(), context.vcpus.end());
      image.metadata.devices = context.devices;
    } catch (const Error& error) {
      if (!options_.salvage || error.kind() != ErrorKind::corrupt) throw;
      diagnostics_.loss("", std::nullopt, std::string(error.what()) + "; all registers are lost");
    }
  }

  const Input& input_;
  const ByteSource& source_;
  const ReadOptions& options_;
  Diagnostics& diagnostics_;
};

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  return Reader(input, options, diagnostics).read();
}

}  // namespace

constinit const Format kXenSave{
    .name = "xen-save",
    .summary = "save of a Xen guest (xl save, virsh save, XAPI, xend)",
    .probe = probe,
    .read = read,
};

}  // namespace vmconvert::xen
