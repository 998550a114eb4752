#pragma once

#include <string>
#include <string_view>

#include "vmconvert/model/metadata.h"
#include "xen/save_container.h"

namespace vmconvert::xen {

/// What a guest's configuration says of it, as facts "domain.name" and the like; what does not
/// parse is passed over. `type` becomes "pv", "pvh" or "hvm" if it tells.
struct DomainConfig {
  std::vector<Fact> facts;
  std::string type;
};
DomainConfig read_domain_config(std::string_view text, SaveContainer::Config kind);

}  // namespace vmconvert::xen
